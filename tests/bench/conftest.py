"""What is not there is not compared with: PyTorch comes with the extra `peers`."""

import importlib.util

collect_ignore = [] if importlib.util.find_spec("torch") else ["test_optimizers_in_torch.py"]
