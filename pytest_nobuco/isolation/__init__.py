"""`--nobuco-isolate`: each model's items run in a process of their own, which may die, hang or grow without harm."""
