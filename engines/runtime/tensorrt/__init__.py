"""TensorRT on an NVIDIA GPU: plans that `engines.build` made on this device, run by one loop that keeps everything on the GPU.

`engine` is what the factory opens; `loop` the order of an inference; `plan` what is checked before a plan is believed; `memory` the one
module with pycuda, `driver` the one that asks libcuda itself; `kernel.cu` and `letterbox` prepare pixels as `engines.preprocess` does.
"""
