from bench.stage import Start

STARTS: dict[str, Start] = {}
