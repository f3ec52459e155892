"""List stored runs, with what each has reached and its state, or those of two folders side by side."""
