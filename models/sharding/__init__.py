"""A policy whose weights are spread over the processes of one command, by PyTorch's FSDP2."""
