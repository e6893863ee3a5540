namespace QuantBuild.Cuda.Emulator;

/// <summary>The driver's results that the emulator gives.</summary>
public enum CuResult
{
    /// <summary>CUDA_SUCCESS.</summary>
    Success = 0,

    /// <summary>CUDA_ERROR_INVALID_VALUE.</summary>
    InvalidValue = 1,

    /// <summary>CUDA_ERROR_OUT_OF_MEMORY.</summary>
    OutOfMemory = 2,

    /// <summary>CUDA_ERROR_NOT_INITIALIZED.</summary>
    NotInitialized = 3,

    /// <summary>CUDA_ERROR_NO_DEVICE.</summary>
    NoDevice = 100,

    /// <summary>CUDA_ERROR_INVALID_DEVICE.</summary>
    InvalidDevice = 101,

    /// <summary>CUDA_ERROR_INVALID_CONTEXT.</summary>
    InvalidContext = 201,

    /// <summary>CUDA_ERROR_NO_BINARY_FOR_GPU.</summary>
    NoBinaryForGpu = 209,

    /// <summary>CUDA_ERROR_ECC_UNCORRECTABLE.</summary>
    EccUncorrectable = 214,

    /// <summary>CUDA_ERROR_INVALID_PTX.</summary>
    InvalidPtx = 218,

    /// <summary>CUDA_ERROR_UNSUPPORTED_PTX_VERSION.</summary>
    UnsupportedPtxVersion = 222,

    /// <summary>CUDA_ERROR_INVALID_HANDLE.</summary>
    InvalidHandle = 400,

    /// <summary>CUDA_ERROR_NOT_FOUND.</summary>
    NotFound = 500,

    /// <summary>CUDA_ERROR_NOT_READY.</summary>
    NotReady = 600,

    /// <summary>CUDA_ERROR_ILLEGAL_ADDRESS.</summary>
    IllegalAddress = 700,

    /// <summary>CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES.</summary>
    LaunchOutOfResources = 701,

    /// <summary>CUDA_ERROR_LAUNCH_TIMEOUT.</summary>
    LaunchTimeout = 702,

    /// <summary>CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED.</summary>
    HostMemoryAlreadyRegistered = 712,

    /// <summary>CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED.</summary>
    HostMemoryNotRegistered = 713,

    /// <summary>CUDA_ERROR_MISALIGNED_ADDRESS.</summary>
    MisalignedAddress = 716,

    /// <summary>CUDA_ERROR_LAUNCH_FAILED.</summary>
    LaunchFailed = 719,

    /// <summary>CUDA_ERROR_SYSTEM_DRIVER_MISMATCH.</summary>
    SystemDriverMismatch = 803,

    /// <summary>CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED.</summary>
    StreamCaptureUnsupported = 900,

    /// <summary>CUDA_ERROR_STREAM_CAPTURE_INVALIDATED.</summary>
    StreamCaptureInvalidated = 901,

    /// <summary>CUDA_ERROR_STREAM_CAPTURE_UNJOINED.</summary>
    StreamCaptureUnjoined = 904,

    /// <summary>CUDA_ERROR_CAPTURED_EVENT.</summary>
    CapturedEvent = 907,

    /// <summary>CUDA_ERROR_ILLEGAL_STATE.</summary>
    IllegalState = 401,

    /// <summary>CUDA_ERROR_UNKNOWN.</summary>
    Unknown = 999,
}
