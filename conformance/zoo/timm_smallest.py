SMALLEST: dict[str, str] = {}
