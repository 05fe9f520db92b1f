"""What is converted: a program, its arguments, and what the user says about its inputs and outputs."""
