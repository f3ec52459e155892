"""What detection and segmentation promise beyond the contract suite."""

import json
import shlex
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image

from tasks.instance_segmentation import predict as instance_prediction
from tasks.object_detection import predict as object_prediction
from tasks.semantic_segmentation import predict as pixel_prediction
from tasks.table import checkpoint_of, program_of
from tests.conftest import TORCHRUN, in_processes
from workbench.training.launch import launched
from workbench.training.loop import Loop
from workbench.training.runs import StoredRun
from workbench.training.seeding import derived_seed, seed_everything
from workbench.training.task import opened
from workbench.training.trained import trained as load_trained
from workbench.vision.coco.scenes import write_scenes

SMALL = {
    "object_detection": "--model fasterrcnn_resnet10_fpn --min-size 32 --max-size 54",
    "instance_segmentation": "--model maskrcnn_resnet10_fpn --min-size 32 --max-size 54",
    "semantic_segmentation": "--model lraspp_resnet10 --base-size 32 --crop-size 32",
}
PREDICTIONS = {
    "object_detection": object_prediction,
    "instance_segmentation": instance_prediction,
    "semantic_segmentation": pixel_prediction,
}
EVERY = pytest.mark.parametrize("task", SMALL)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Scenes in COCO's layout: 12 for training, of which each has an object and none a crowd, and 5 for validation."""
    folder = tmp_path_factory.mktemp("data")
    write_scenes("scenes", folder / "own", folder, train=15, val=5)
    path = folder / "own/annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"] = [each for each in content["annotations"] if not each["iscrowd"]]
    there = {each["image_id"] for each in content["annotations"]}
    content["images"] = [each for each in content["images"] if each["id"] in there][:12]
    kept = {each["id"] for each in content["images"]}
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] in kept]
    path.write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Results of a short run of each task."""
    results = tmp_path_factory.mktemp("results")
    for task in SMALL:
        torch.set_num_threads(1)
        program_of(task).main(arguments(task, data, results, "--epochs 2 --batch-size 4 --picture-every 1"))
    return results


def arguments(task, data, results, *more):
    given = f"--dataset own --data {data} --results {results} --device cpu --workers 0 {SMALL[task]}"
    return shlex.split(" ".join([given, *more]))


def the(name, folder):
    (found,) = folder.rglob(name)
    return found


# Against torchvision in a plain loop


def recorded(task, run):
    """The loss of each step as the program trains."""
    losses, original = [], type(task).loss

    def loss(model, batch):
        found = original(task, model, batch)
        losses.append(found.item())
        return found

    task.loss = loss
    with launched("cpu") as accelerator:
        Loop(task, run, accelerator).train(after_step=lambda: None)
    return losses


def wrapped(data, keys, transforms):
    """torchvision's own reading of the same files."""
    folder = data / "own"
    files = torchvision.datasets.CocoDetection(
        folder / "train2017", folder / "annotations/instances_train2017.json", transforms=transforms
    )
    return torchvision.datasets.wrap_dataset_for_transforms_v2(files, target_keys=keys)


@pytest.mark.parametrize(
    ("task", "model", "more"),
    [
        pytest.param(
            "object_detection", "fasterrcnn_resnet50_fpn", "--lr 0.001 --warmup-steps 3 --lr-steps 1",
            marks=pytest.mark.slow,
        ),
        ("object_detection", "retinanet_resnet50_fpn_v2", "--data-augmentation hflip --lr-steps 1"),
        pytest.param(
            "instance_segmentation", "maskrcnn_resnet50_fpn", "--lr 0.001 --warmup-steps 3 --lr-steps 1",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_ten_steps_of_a_detector_are_those_of_a_plain_loop(task, model, more, data, tmp_path):
    program, masks = program_of(task), task == "instance_segmentation"
    flags = f"--model {model} --min-size 64 --max-size 107 --epochs 2 --batch-size 2 --limit-train 10 --seed 2"
    options = program.parse(arguments(task, data, tmp_path, flags, more))
    spec = program.spec(options)
    ours = opened(spec, torch.device("cpu"))
    ours.evaluate = lambda *_: {each.key: 0.0 for each in ours.metrics}
    found = recorded(ours, StoredRun(tmp_path, "own", model, "ReLU", 2))

    from torchvision.transforms import v2

    steps = [v2.ToImage(), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float, scale=True), v2.SanitizeBoundingBoxes()]
    keys = ("boxes", "labels", "masks") if masks else ("boxes", "labels")
    dataset = wrapped(data, keys, v2.Compose(steps))
    seed_everything(2)
    theirs = torchvision.models.get_model(
        model, weights=None, weights_backbone=None, num_classes=11, min_size=64, max_size=107
    )
    s = spec.settings
    if s.opt == "adamw":
        norms, others = torchvision.ops._utils.split_normalization_params(theirs)
        groups = [{"params": norms, "weight_decay": 0.0}, {"params": others, "weight_decay": s.weight_decay}]
        optimizer = torch.optim.AdamW(groups, s.lr, fused=True)
    else:
        optimizer = torch.optim.SGD(theirs.parameters(), s.lr, momentum=0.9, weight_decay=1e-4, fused=True)
    milestones = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(s.lr_steps), s.lr_gamma)
    expected, sampling = [], ours.sampling(2)
    theirs.train()
    kept = [each.id for each in ours.split.train.pictures]
    for epoch in range(2):
        warmup = min(s.warmup_steps, sampling.steps_per_epoch - 1)
        linear = torch.optim.lr_scheduler.LinearLR(optimizer, 0.001, total_iters=warmup) if epoch == 0 else None
        for number, [(samples, positions)] in enumerate(sampling.steps(epoch)):
            batch = []
            for sample, position in zip(samples.tolist(), positions.tolist(), strict=True):
                seed_everything(derived_seed(2, "augment", epoch, position))
                batch.append(dataset[dataset.ids.index(kept[sample])])
            seed_everything(derived_seed(2, "step", epoch * sampling.steps_per_epoch + number, 0))
            images, targets = zip(*batch, strict=True)
            loss = sum(theirs(list(images), list(targets)).values())
            expected.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if linear:
                linear.step()
        milestones.step()
    assert found == pytest.approx(expected, rel=1e-5) and len(found) == 10


def test_ten_steps_of_a_segmenter_are_those_of_a_plain_loop(data, tmp_path):
    program = program_of("semantic_segmentation")
    flags = "--model deeplabv3_resnet50 --base-size 48 --crop-size 48 --epochs 5 --batch-size 5 --seed 2 --lr 0.01"
    ours = opened(
        program.spec(program.parse(arguments("semantic_segmentation", data, tmp_path, flags))), torch.device("cpu")
    )
    ours.evaluate = lambda *_: {each.key: 0.0 for each in ours.metrics}
    found = recorded(ours, StoredRun(tmp_path, "own", "deeplabv3_resnet50", "ReLU", 2))

    seed_everything(2)
    theirs = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=11, aux_loss=True
    )
    optimizer = torch.optim.SGD(
        [
            {"params": [*theirs.backbone.parameters(), *theirs.classifier.parameters()]},
            {"params": theirs.aux_classifier.parameters(), "lr": 0.1},
        ],
        0.01, momentum=0.9, weight_decay=1e-4, fused=True,
    )  # fmt: skip
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, 10, power=0.9)
    theirs.train()
    expected = []
    for epoch in range(5):
        for number, [(x, y)] in enumerate(ours.training(ours.sampling(2), epoch, 0)):
            seed_everything(derived_seed(2, "step", 2 * epoch + number, 0))
            output = theirs(x)
            loss = F.cross_entropy(output["out"], y, ignore_index=255)
            loss = loss + 0.5 * F.cross_entropy(output["aux"], y, ignore_index=255)
            expected.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    assert found == pytest.approx(expected, rel=1e-5) and len(found) == 10


# Evaluation


@pytest.mark.parametrize(
    "task", [pytest.param("object_detection", marks=pytest.mark.slow), "instance_segmentation", "semantic_segmentation"]
)
def test_two_processes_evaluate_as_one(task, trained, data, tmp_path, program):
    """Five images: three in one process and two in the other."""
    more = "--epochs 2 --batch-size {} --test-only"
    one = program(program_of(task), *arguments(task, data, trained, more.format(4)))
    assert one[0] == 0 and one[2] == "", one
    checkpoint = the("checkpoint_0.pth", trained / f"own/{SMALL[task].split()[1]}")
    state = torch.load(checkpoint, weights_only=True)
    assert state["configuration"]["batch_size"] == 4
    state["configuration"]["batch_size"] = 2  # what two processes say for the same steps
    other = tmp_path / checkpoint.relative_to(trained)
    other.parent.mkdir(parents=True)
    torch.save(state, other)
    two = in_processes(TORCHRUN, f"tasks.{task}.train", *arguments(task, data, tmp_path, more.format(2)))
    assert two.returncode == 0, two.stderr
    table = [line for line in one[1].splitlines() if line.endswith("%")]
    assert len(table) > 1
    assert [line for line in two.stdout.splitlines() if line.endswith("%")] == table


def test_the_stored_numbers_are_those_of_the_checkpoint(trained, data, program):
    task = "instance_segmentation"
    _, out, _ = program(program_of(task), *arguments(task, data, trained, "--epochs 2 --batch-size 4 --test-only"))
    final = json.loads(the("results_0.json", trained / "own/maskrcnn_resnet10_fpn").read_text())["final"]
    lines = [line.split() for line in out.splitlines()]
    assert ["mask", "AP", format(final["val_mask_ap"], ".4g"), "%"] in lines
    assert ["box", "AP50", format(final["val_box_ap50"], ".4g"), "%"] in lines


def test_nothing_to_test_is_said(data, tmp_path, program):
    code, _, err = program(
        program_of("object_detection"), *arguments("object_detection", data, tmp_path, "--test-only")
    )
    assert code == 2 and err.startswith("error: there is nothing to test: no checkpoint ") and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_image_that_cannot_be_read_has_no_objects_to_find(data, trained, tmp_path, program):
    """The numbers are those without it, not worse."""
    task = "object_detection"
    shutil.copytree(data, tmp_path / "broken")
    image = max((tmp_path / "broken/own/val2017").iterdir())
    shutil.copytree(tmp_path / "broken", tmp_path / "without")
    image.write_bytes(image.read_bytes()[:100])
    path = tmp_path / "without/own/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    content["images"] = [each for each in content["images"] if each["file_name"] != image.name]
    there = {each["id"] for each in content["images"]}
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] in there]
    path.write_text(json.dumps(content))
    found = []
    for name in ("broken", "without"):
        more = "--epochs 1 --batch-size 4 --bad-images skip --lr 0.01"
        code, _, err = program(program_of(task), *arguments(task, tmp_path / name, tmp_path / f"r_{name}", more))
        assert code == 0 and (f"{image.name} is no image that can be read" in err) == (name == "broken")
        final = json.loads(the("results_0.json", tmp_path / f"r_{name}").read_text())["final"]
        assert final["unreadable_val"] == (name == "broken")
        found.append({key: value for key, value in final.items() if "second" not in key and "unreadable" not in key})
    assert found[0] == found[1]


# What a run starts from


def test_a_backbone_is_part_of_a_run(data, tmp_path, program):
    folder = tmp_path / "imagenet/GoLU"
    folder.mkdir(parents=True)

    def store(seed):
        torch.manual_seed(seed)
        weights = torchvision.models.resnet50(weights=None, num_classes=2).state_dict()
        torch.save({"model": weights, "configuration": {"activation": "GoLU", "model": "resnet50"}}, path)
        return weights

    path = folder / "checkpoint_0.pth"
    weights = store(0)
    task, more = "object_detection", f"--epochs 1 --batch-size 6 --backbone-checkpoint-path {tmp_path / 'imagenet'}"
    command = [*arguments(task, data, tmp_path / "results", more, "--model fasterrcnn_resnet50_fpn --lr 1e-9")]
    code, _, err = program(program_of(task), *command)
    assert code == 0, err
    results = json.loads(the("results_0.json", tmp_path).read_text())
    assert len(results["configuration"]["backbone"]) == 8 and "backbone_checkpoint_path" not in results["configuration"]
    trained = torch.load(the("checkpoint_0.pth", tmp_path / "results"), weights_only=True)["model"]
    for name in ("conv1.weight", "layer1.0.conv1.weight", "bn1.running_mean", "layer3.0.bn1.weight"):  # all are frozen
        assert torch.equal(trained[f"backbone.body.{name}"], weights[name]), name
    assert program(program_of(task), *command)[0] == 0
    store(1)
    code, _, err = program(program_of(task), *command)
    assert code == 2 and "with backbone=" in err and err.count("\n") == 1


# Compared


def test_detectors_are_compared_as_any_other_task(data, tmp_path, compare):
    words = arguments("object_detection", data, tmp_path, "--epochs 1 --batch-size 4 --seeds 2")
    code, _, err = compare("--task", "object_detection", "--activations", "ReLU", "GoLU", *words)
    assert (code, err) == (0, "")
    table = (tmp_path / "own/fasterrcnn_resnet10_fpn/table.md").read_text()
    assert table.startswith("| activation | box AP (%) | difference to ReLU | box AP50 (%) |")
    assert "| GoLU | " in table and "(2)" in table
    assert not list(tmp_path.rglob("pictures*"))


def test_lines_of_progress_are_as_frequent_as_asked_for(data, tmp_path, program):
    more = "--epochs 2 --batch-size 4 --print-freq 2"
    _, out, _ = program(program_of("object_detection"), *arguments("object_detection", data, tmp_path, more))
    lines = [line.split("] ")[1].split(":")[0] for line in out.splitlines() if "] step " in line]
    assert lines == ["step 2", "step 4", "step 6"]


# Pictures


@EVERY
def test_pictures_are_kept_and_in_tensorboard(task, trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = trained / f"own/{SMALL[task].split()[1]}"
    pictures = the("pictures_0", folder)
    assert sorted(each.name for each in pictures.iterdir()) == ["epoch_1.png", "epoch_2.png"]
    events = EventAccumulator(str(the("tensorboard_0", folder)), size_guidance={"images": 0}).Reload()
    for event, number in zip(events.Images("pictures"), (1, 2), strict=True):
        path = pictures / f"epoch_{number}.png"
        assert event.step == number and event.encoded_image_string == path.read_bytes()
        assert (event.width, event.height) == Image.open(path).size


@pytest.mark.parametrize(("every", "drawn"), [(2, [2, 3]), (0, []), (5, [3])])
def test_pictures_are_drawn_so_often(every, drawn, data, tmp_path, program):
    more = f"--epochs 3 --batch-size 4 --picture-every {every}"
    assert program(program_of("object_detection"), *arguments("object_detection", data, tmp_path, more))[0] == 0
    assert sorted(each.name for each in tmp_path.rglob("epoch_*.png")) == [f"epoch_{each}.png" for each in drawn]
    again = arguments("object_detection", data, tmp_path, more, "--picture-every 1")  # it changes no number
    assert "has ended already" in program(program_of("object_detection"), *again)[1]


# Predictions


@EVERY
def test_predictions_are_drawn_and_written(task, trained, data, tmp_path, program):
    checkpoint = the("checkpoint_0.pth", trained / f"own/{SMALL[task].split()[1]}")
    images = sorted((data / "own/val2017").iterdir())[:2]
    low = [] if task == "semantic_segmentation" else ["--score-threshold", "0.0"]
    words = [*images, "--checkpoint", checkpoint, "--output", tmp_path / "out", "--device", "cpu", *low]
    code, out, err = program(PREDICTIONS[task], *words)
    assert (code, err) == (0, "") and out.count("\n") == 3
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == sorted(
        [*(f"{each.stem}.png" for each in images), "predictions.json"]
    )
    found = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [each["file_name"] for each in found["images"]] == [str(each) for each in images]
    names = {each["id"]: each["name"] for each in found["categories"]}
    assert names == {number + 1: str(number) for number in range(10)}
    assert [each["id"] for each in found["annotations"]] == list(range(1, len(found["annotations"]) + 1))
    from pycocotools import mask

    for each in found["annotations"]:
        assert each["image_id"] in (1, 2) and each["category_id"] in names
        if task != "object_detection":
            size = found["images"][each["image_id"] - 1]
            assert mask.decode(each["segmentation"]).shape == (size["height"], size["width"])
        if task == "semantic_segmentation":
            assert mask.area(each["segmentation"]) == each["area"]
            assert mask.toBbox(each["segmentation"]).tolist() == each["bbox"]


def test_predictions_of_detectors_are_what_the_model_gives(trained, data, tmp_path, program):
    """The same boxes as from the model that the evaluation has, with a score above the threshold, and no others."""
    checkpoint = the("checkpoint_0.pth", trained / "own/fasterrcnn_resnet10_fpn")
    image = min((data / "own/val2017").iterdir())
    state = torch.load(checkpoint, weights_only=True)
    _, model = load_trained(checkpoint_of(checkpoint), torch.device("cpu"))
    assert all(torch.equal(each, state["model"][name]) for name, each in model.state_dict().items())
    with torch.inference_mode():
        (output,) = model([torch.from_numpy(np.array(Image.open(image))).permute(2, 0, 1) / 255])
    least = float(output["scores"].median())
    program(object_prediction, image, "--checkpoint", checkpoint, "--output", tmp_path, "--score-threshold", least)
    found = json.loads((tmp_path / "predictions.json").read_text())["annotations"]
    kept = output["scores"] >= least
    assert [each["score"] for each in found] == pytest.approx(output["scores"][kept].tolist())
    boxes = torch.tensor([each["bbox"] for each in found])
    assert torch.allclose(boxes[:, :2] + boxes[:, 2:], output["boxes"][kept][:, 2:], atol=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere.jpg", "there is no image nowhere.jpg"),
        ("{text}", "is no image that can be read"),
        ("{image} {image}", "more than once"),
        ("{image} --checkpoint nowhere.pth", "there is no checkpoint nowhere.pth"),
        ("{image} --checkpoint {image}", "is broken"),
        ("{image} --checkpoint {other}", "is no checkpoint of tasks.object_detection.train"),
        ("{image} --score-threshold 2", "must be a number from 0 to 1"),
        ("{image} --output {text}", "it is a file"),
        ("", "required: IMAGE"),
    ],
)
def test_predictions_of_something_else_are_refused(words, said, trained, data, tmp_path, program):
    (tmp_path / "text.jpg").write_text("no image")
    places = {
        "image": min((data / "own/val2017").iterdir()),
        "text": tmp_path / "text.jpg",
        "other": the("checkpoint_0.pth", trained / "own/lraspp_resnet10"),
    }
    default = ["--checkpoint", str(the("checkpoint_0.pth", trained / "own/fasterrcnn_resnet10_fpn"))]
    code, _, err = program(object_prediction, *default, *shlex.split(words.format(**places)))
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and said in err, err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["text.jpg"]
