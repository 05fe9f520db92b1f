"""Nothing to convert, only to look up: how an operation of PyTorch is said in TensorFlow."""

import torch
import torch.nn.functional as F
from torch import nn

import nobuco


def main():
    for operation in (torch.Tensor.repeat, F.relu_, nn.LSTM):
        location_link, source_code = nobuco.locate_converter(operation)
        print(f"Converter location:\n{location_link}\nConverter source code:\n{source_code}")
        assert location_link.startswith('File "')
        assert "def " in source_code


if __name__ == "__main__":
    main()
