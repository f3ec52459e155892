/* An ordinary call from end to end, for Python: checks, a tensor for the result, and the kernel.
 *
 * Python's limited API and no torch headers: one binary serves every version of both. Torch is asked through its C
 * interface for compiled models (aoti_torch_*), or through the Python objects that `prepare` is given.
 * Every function returns None where a call is out of the ordinary: the caller looks closer then.
 */

#define Py_LIMITED_API 0x030A0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef int Forward(const void *, void *, int64_t, const double *, int);
typedef int Backward(const void *, const void *, void *, int64_t, const double *, int);
extern Forward golu_forward_f32, golu_forward_f64, golu_forward_bf16, golu_forward_f16;
extern Backward golu_backward_f32, golu_backward_f64, golu_backward_bf16, golu_backward_f16;
typedef int Keeping(const void *, void *, void *, int64_t, const double *, double, int);
typedef int From_output(const void *, const void *, const void *, void *, int64_t, const void *, int, int);
extern Keeping golu_forward_keeping_f32, golu_forward_keeping_bf16, golu_forward_keeping_f16;
extern From_output golu_backward_from_output_f32, golu_backward_from_output_bf16, golu_backward_from_output_f16;

static Forward *const forwards[] = {golu_forward_f32, golu_forward_f64, golu_forward_bf16, golu_forward_f16};
static Backward *const backwards[] = {golu_backward_f32, golu_backward_f64, golu_backward_bf16, golu_backward_f16};
static Keeping *const keeping[] = {golu_forward_keeping_f32, NULL, golu_forward_keeping_bf16, golu_forward_keeping_f16};
static From_output *const from_outputs[] = {golu_backward_from_output_f32, NULL, golu_backward_from_output_bf16,
                                            golu_backward_from_output_f16};
enum { DTYPES = 4, BYTE = DTYPES, ONE_THREAD = 32768, KEEP_GIL = 4096 }; /* up to so many elements */

/* ---- what is known of torch ---- */

typedef void *Handle; /* at::Tensor *: a pointer to a pointer to the tensor's body */
typedef int32_t Error;

/* extension.py lists them in this order */
static struct {
  Error (*get_device_type)(Handle, int32_t *);
  Error (*get_dtype)(Handle, int32_t *);
  Error (*is_contiguous)(Handle, _Bool *);
  Error (*get_numel)(Handle, int64_t *);
  Error (*get_dim)(Handle, int64_t *);
  Error (*get_sizes)(Handle, int64_t **);
  Error (*get_strides)(Handle, int64_t **);
  Error (*get_data_ptr)(Handle, void **);
  Error (*empty_strided)(int64_t, const int64_t *, const int64_t *, int32_t, int32_t, int32_t, Handle *);
  Error (*delete_tensor_object)(Handle);
  _Bool (*grad_mode_is_enabled)(void);
} torch;
enum { FUNCTIONS = sizeof torch / sizeof(void *), CPU = 0 };

static int32_t dtypes[DTYPES + 1]; /* as torch numbers them, in the order of forwards; and uint8 */
static PyObject *tensor_type, *parameter_type, *wrap, *num_threads, *watchers;
static PyObject *forward_ad, *profiler; /* the names of these modules */
static PyObject *requires_grad, *is_nested, *is_neg, *data_ptr, *cdata, *level, *enabled; /* names */

static int integers(PyObject *list, Py_ssize_t count, long long *out) {
  if (PyTuple_Size(list) != count) PyErr_Format(PyExc_ValueError, "expected %zd integers", count);
  for (Py_ssize_t i = 0; i < count && !PyErr_Occurred(); i++) out[i] = PyLong_AsLongLong(PyTuple_GetItem(list, i));
  return PyErr_Occurred() ? -1 : 0;
}

static PyObject *prepare(PyObject *self, PyObject *given) {
  (void)self;
  PyObject *objects[7], *functions, *numbers;
  long long addresses[FUNCTIONS], values[DTYPES + 1];
  if (!PyArg_ParseTuple(given, "OOOOOOOOO", &objects[0], &objects[1], &objects[2], &objects[3], &objects[4],
                        &objects[5], &objects[6], &functions, &numbers) ||
      integers(functions, FUNCTIONS, addresses) || integers(numbers, DTYPES + 1, values))
    return NULL;
  memcpy(&torch, addresses, sizeof torch);
  for (int i = 0; i <= DTYPES; i++) dtypes[i] = (int32_t)values[i];
  tensor_type = objects[0], parameter_type = objects[1], wrap = objects[2];
  num_threads = objects[3], forward_ad = objects[4], profiler = objects[5], watchers = objects[6];
  Py_INCREF(given); /* for good: another thread may be at work with them */
  Py_RETURN_NONE;
}

/* ---- questions: 1 is yes, 0 is no, -1 an exception ---- */

static int truth(PyObject *answer) {
  const int yes = answer ? PyObject_IsTrue(answer) : -1;
  Py_XDECREF(answer);
  return yes;
}

static long long integer(PyObject *answer) { /* -1 with an exception set, as PyLong_AsLongLong */
  const long long value = answer ? PyLong_AsLongLong(answer) : -1;
  Py_XDECREF(answer);
  return value;
}

static void *pointer(PyObject *answer) {
  void *value = answer ? PyLong_AsVoidPtr(answer) : NULL;
  Py_XDECREF(answer);
  return value;
}

/* Nothing sees the operations: no forward AD, no profiler, and none of what watchers ask for. */
static int unwatched(void) {
  PyObject *now = PyDict_GetItemWithError(forward_ad, level), *on = PyDict_GetItemWithError(profiler, enabled);
  if (!now || !on || PyLong_AsLong(now) >= 0 || PyObject_IsTrue(on)) return PyErr_Occurred() ? -1 : 0;
  for (Py_ssize_t i = 0, n = PyTuple_Size(watchers); i < n; i++) {
    const int watched = truth(PyObject_CallObject(PyTuple_GetItem(watchers, i), NULL));
    if (watched) return watched < 0 ? -1 : 0;
  }
  return 1;
}

static int plain(PyObject *x) {
  PyObject *const type = (PyObject *)Py_TYPE(x);
  return type == tensor_type || type == parameter_type;
}

typedef struct {
  void *body; /* its address is a handle */
  void *data;
  int64_t n;
  int32_t dtype;
} Memory;

/* The address of memory that strides describe: batched gradients and sparse layouts have none, nor nested tensors. */
static int has_memory(PyObject *x, void **data) {
  const int nested = truth(PyObject_GetAttr(x, is_nested));
  if (nested) return nested < 0 ? -1 : 0;
  *data = pointer(PyObject_CallMethodObjArgs(x, data_ptr, NULL));
  if (*data || !PyErr_Occurred()) return 1;
  if (!PyErr_ExceptionMatches(PyExc_RuntimeError)) return -1;
  PyErr_Clear();
  return 0;
}

/* Contiguous memory of the CPU that holds the values as they are. */
static int memory_of(PyObject *x, Memory *m) {
  const int there = has_memory(x, &m->data);
  if (there != 1) return there;
  const int negated = truth(PyObject_CallMethodObjArgs(x, is_neg, NULL));
  if (negated) return negated < 0 ? -1 : 0;
  if (!(m->body = pointer(PyObject_GetAttr(x, cdata)))) return PyErr_Occurred() ? -1 : 0;
  const Handle handle = &m->body;
  int32_t device;
  _Bool contiguous;
  return !torch.get_device_type(handle, &device) && device == CPU && !torch.is_contiguous(handle, &contiguous) &&
         contiguous && !torch.get_dtype(handle, &m->dtype) && !torch.get_numel(handle, &m->n);
}

/* ---- the calls ---- */

static PyObject *none_or_error(int answer) {
  if (answer < 0) return NULL;
  Py_RETURN_NONE;
}

/* alpha, beta, gamma into q; `unit` tells whether all are 1. */
static int parameters_of(PyObject *const *arguments, double q[3], int *unit) {
  for (int i = 0; i < 3; i++) {
    q[i] = PyFloat_AsDouble(arguments[i]);
    if (q[i] == -1 && PyErr_Occurred()) return -1;
  }
  *unit = q[0] == 1 && q[1] == 1 && q[2] == 1;
  return 1;
}

/* x, alpha, beta, gamma of a call inside an autograd Function: `call` has seen to the rest. */
static int given(PyObject *const *arguments, Memory *x, double q[3], int *unit) {
  if (!plain(arguments[0])) return 0;
  const int there = memory_of(arguments[0], x);
  return there == 1 ? parameters_of(arguments + 1, q, unit) : there;
}

/* A handle of a new tensor, or NULL. */
static Handle empty(int64_t dim, const int64_t *sizes, const int64_t *strides, int32_t dtype, void **data) {
  Handle made;
  if (torch.empty_strided(dim, sizes, strides, dtype, CPU, 0, &made)) return NULL;
  if (!torch.get_data_ptr(made, data)) return made;
  torch.delete_tensor_object(made);
  return NULL;
}

static Handle empty_like(const Memory *x, void **data) {
  const Handle like = (Handle)&x->body;
  int64_t dim, *sizes, *strides;
  if (torch.get_dim(like, &dim) || torch.get_sizes(like, &sizes) || torch.get_strides(like, &strides)) return NULL;
  return empty(dim, sizes, strides, x->dtype, data);
}

/* The tensor of a handle, which is given up; NULL with an exception set. */
static PyObject *wrapped(Handle handle) {
  PyObject *capsule = PyCapsule_New(handle, NULL, NULL);
  PyObject *tensor = capsule ? PyObject_CallFunctionObjArgs(wrap, capsule, NULL) : NULL;
  Py_XDECREF(capsule);
  torch.delete_tensor_object(handle); /* this reference; the Python object holds another */
  return tensor;
}

/* What a kernel computes: y from x, dx from dy and x, y and the sides from x, or dx from dy, y (as x) and the sides. */
typedef struct {
  const Memory *dy, *x;
  const double *q; /* alpha, beta, gamma */
  int unit;        /* all are 1 */
  const void *slopes;
  void *sides;
  double least;
} Work;

static int run(const Work *w, int which, void *out, int threads) {
  const void *x = w->x->data;
  const double *q = w->unit ? NULL : w->q;
  const int64_t n = w->x->n;
  if (w->slopes) return from_outputs[which](w->dy->data, x, w->sides, out, n, w->slopes, w->unit, threads);
  if (w->sides) return keeping[which](x, out, w->sides, n, q, w->least, threads);
  return w->dy ? backwards[which](w->dy->data, x, out, n, q, threads) : forwards[which](x, out, n, q, threads);
}

/* A tensor like x that holds the result. */
static PyObject *compute(const Work *w) {
  const int64_t n = w->x->n;
  int which = 0;
  while (which < DTYPES && dtypes[which] != w->x->dtype) which++;
  if (which == DTYPES || (w->sides && !keeping[which])) Py_RETURN_NONE;
  long long threads = 1;
  if (n > ONE_THREAD) { /* asked in each thread: it also makes torch set up OpenMP there */
    threads = integer(PyObject_CallObject(num_threads, NULL));
    if (threads < 0 && PyErr_Occurred()) return NULL;
  }
  void *out;
  Handle y = empty_like(w->x, &out);
  if (!y) Py_RETURN_NONE;
  PyThreadState *state = n > KEEP_GIL ? PyEval_SaveThread() : NULL;
  const int refused = run(w, which, out, (int)threads);
  if (state) PyEval_RestoreThread(state);
  if (!refused) return wrapped(y);
  torch.delete_tensor_object(y);
  Py_RETURN_NONE;
}

/* The whole of golu(x, alpha, beta, gamma); under autograd `apply` is called, with x alone if the parameters are 1. */
static PyObject *call(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  (void)self;
  if (count != 5 || !watchers) return PyErr_Format(PyExc_TypeError, "call(x, alpha, beta, gamma, apply) after prepare");
  PyObject *const x = arguments[0];
  Memory memory;
  double q[3];
  int unit, answer;
  if (!plain(x)) Py_RETURN_NONE;
  if ((answer = unwatched()) != 1) return none_or_error(answer);
  if ((answer = parameters_of(arguments + 1, q, &unit)) != 1) return none_or_error(answer);
  if ((answer = truth(PyObject_GetAttr(x, requires_grad))) < 0) return NULL;
  if (!answer || !torch.grad_mode_is_enabled()) {
    if ((answer = memory_of(x, &memory)) != 1) return none_or_error(answer);
    return compute(&(Work){.x = &memory, .q = q, .unit = unit});
  }
  if ((answer = has_memory(x, &memory.data)) != 1) return none_or_error(answer);
  if (unit) return PyObject_CallFunctionObjArgs(arguments[4], x, NULL);
  return PyObject_CallFunctionObjArgs(arguments[4], x, arguments[1], arguments[2], arguments[3], NULL);
}

/* forward(x, alpha, beta, gamma) inside an autograd Function. */
static PyObject *forward(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  (void)self;
  if (count != 4 || !watchers) return PyErr_Format(PyExc_TypeError, "forward(x, alpha, beta, gamma) after prepare");
  Memory x;
  double q[3];
  int unit;
  const int answer = given(arguments, &x, q, &unit);
  return answer == 1 ? compute(&(Work){.x = &x, .q = q, .unit = unit}) : none_or_error(answer);
}

static PyObject *backward(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  (void)self;
  if (count != 5 || !watchers) return PyErr_Format(PyExc_TypeError, "backward(dy, x, alpha, beta, gamma) after prepare");
  Memory dy, x;
  double q[3];
  int unit, answer;
  if (!plain(arguments[0]) || !plain(arguments[1]) || torch.grad_mode_is_enabled()) Py_RETURN_NONE;
  if ((answer = unwatched()) != 1) return none_or_error(answer);
  if ((answer = memory_of(arguments[0], &dy)) != 1) return none_or_error(answer);
  if ((answer = memory_of(arguments[1], &x)) != 1) return none_or_error(answer);
  if (dy.dtype != x.dtype || dy.n != x.n) Py_RETURN_NONE;
  if ((answer = parameters_of(arguments + 2, q, &unit)) != 1) return none_or_error(answer);
  return compute(&(Work){.dy = &dy, .x = &x, .q = q, .unit = unit});
}

/* forward_keeping(x, alpha, beta, gamma, least) in the same place: the output and the sides of the minimum, `least`. */
static PyObject *forward_keeping(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  (void)self;
  if (count != 5 || !watchers)
    return PyErr_Format(PyExc_TypeError, "forward_keeping(x, alpha, beta, gamma, least) after prepare");
  Memory x;
  double q[3];
  int unit;
  const int answer = given(arguments, &x, q, &unit);
  if (answer != 1) return none_or_error(answer);
  const double least = PyFloat_AsDouble(arguments[4]);
  if (least == -1 && PyErr_Occurred()) return NULL;
  if (!x.n) Py_RETURN_NONE; /* without memory */
  const int64_t bytes = (x.n + 7) / 8, one = 1;
  void *sides;
  Handle packed = empty(1, &bytes, &one, dtypes[BYTE], &sides);
  if (!packed) Py_RETURN_NONE;
  PyObject *y = compute(&(Work){.x = &x, .q = q, .unit = unit, .sides = sides, .least = least}), *pair = NULL;
  if (y == NULL || y == Py_None) {
    torch.delete_tensor_object(packed);
    return y;
  }
  PyObject *kept = wrapped(packed);
  if (kept) pair = PyTuple_Pack(2, y, kept);
  Py_DECREF(y);
  Py_XDECREF(kept);
  return pair;
}

/* backward_from_output(dy, y, packed, slopes, unit): `slopes` are the bytes of the struct of this name in cpu.c. */
static PyObject *backward_from_output(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  (void)self;
  if (count != 5 || !watchers)
    return PyErr_Format(PyExc_TypeError, "backward_from_output(dy, y, packed, slopes, unit) after prepare");
  Memory dy, y, packed;
  int answer;
  for (int i = 0; i < 3; i++)
    if (!plain(arguments[i])) Py_RETURN_NONE;
  if (torch.grad_mode_is_enabled()) Py_RETURN_NONE;
  if ((answer = unwatched()) != 1) return none_or_error(answer);
  Memory *const memories[] = {&dy, &y, &packed};
  for (int i = 0; i < 3; i++)
    if ((answer = memory_of(arguments[i], memories[i])) != 1) return none_or_error(answer);
  if (dy.dtype != y.dtype || dy.n != y.n || packed.dtype != dtypes[BYTE] || packed.n != (y.n + 7) / 8 || !y.n)
    Py_RETURN_NONE;
  const char *slopes = PyBytes_AsString(arguments[3]);
  const int unit = PyObject_IsTrue(arguments[4]);
  if (!slopes || unit < 0) return NULL;
  return compute(&(Work){.dy = &dy, .x = &y, .unit = unit, .slopes = slopes, .sides = packed.data});
}

/* ---- the module ---- */

#define FAST(function) {#function, (PyCFunction)(void (*)(void))function, METH_FASTCALL, NULL}
static PyMethodDef methods[] = {
    {"prepare", prepare, METH_VARARGS, NULL}, FAST(call), FAST(forward), FAST(backward), FAST(forward_keeping),
    FAST(backward_from_output), {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_cpu", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__cpu(void) {
  requires_grad = PyUnicode_InternFromString("requires_grad");
  is_nested = PyUnicode_InternFromString("is_nested");
  is_neg = PyUnicode_InternFromString("is_neg");
  data_ptr = PyUnicode_InternFromString("data_ptr");
  cdata = PyUnicode_InternFromString("_cdata");
  level = PyUnicode_InternFromString("_current_level");
  enabled = PyUnicode_InternFromString("_is_profiler_enabled");
  if (PyErr_Occurred()) return NULL;
  return PyModuleDef_Init(&definition);
}
