"""Write what a program gives: storage, tables, estimates, plot style, environment."""
