//! An NVIDIA GPU behind its driver, which is looked for when it is asked for: the program starts, and
//! is built, without one.

use std::collections::HashMap;
use std::sync::Arc;

use cudarc::driver::{
    CudaContext, CudaEvent, CudaFunction, CudaGraph, CudaSlice, CudaStream, DevicePtr, DeviceRepr,
    DriverError, LaunchConfig, PinnedHostSlice, PushKernelArg, result, sys,
};
use cudarc::nvrtc::Ptx;

use super::kernels::{FILES, File};
use super::{Argument, Classifier, Convnet, Gpu, GpuError, Grid, Linear, Update, Windows};

/// The oldest compute capability whose kernels there are.
const OLDEST: (i32, i32) = (7, 5);

/// The CUDA version of the oldest driver that takes PTX 8.1, which the kernels are.
const OLDEST_DRIVER: (i32, i32) = (12, 1);

// SAFETY: both are whole numbers of 32 bits in the order of `kernels/shapes.h`, without padding.
unsafe impl DeviceRepr for Windows {}
// SAFETY: likewise.
unsafe impl DeviceRepr for Linear {}
// SAFETY: likewise; one of the numbers is a fraction.
unsafe impl DeviceRepr for Classifier {}
// SAFETY: likewise.
unsafe impl DeviceRepr for Convnet {}
// SAFETY: likewise, in the order of `kernels/optimisers.h`.
unsafe impl DeviceRepr for Update {}

/// Bytes of shared memory that every GPU since 7.5 gives to a block whose kernel asks for it.
const MOST_SHARED: i32 = 64 << 10;

/// What a GPU says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What it is called.
    pub name: String,
    /// Its compute capability, as in 9.0.
    pub compute_capability: (i32, i32),
    /// Bytes of memory.
    pub memory: usize,
}

/// The GPUs of this machine, as `CUDA_VISIBLE_DEVICES` shows them, and the driver's CUDA version, as
/// in 12.8. No GPU is started for it.
///
/// # Errors
/// Why there is none.
pub fn list() -> Result<(Vec<Description>, (i32, i32)), GpuError> {
    let count = count()?;
    let devices = (0..count).map(describe).collect::<Result<_, _>>()?;
    let mut version = 0;
    // SAFETY: the driver writes one number there, and was found by `count`.
    let status = unsafe { sys::cuDriverGetVersion(&mut version) };
    status
        .result()
        .map_err(|error| failed("cuDriverGetVersion", error))?;
    Ok((devices, (version / 1000, version % 1000 / 10)))
}

/// Whether GPU and driver are new enough for the kernels.
///
/// # Errors
/// What they are, and what is needed.
fn check(gpu: &Description, driver: (i32, i32)) -> Result<(), GpuError> {
    let dotted = |(major, minor)| format!("{major}.{minor}");
    if gpu.compute_capability < OLDEST {
        let (found, needed) = (dotted(gpu.compute_capability), dotted(OLDEST));
        let name = &gpu.name;
        let reason = format!("{name} has compute capability {found}; {needed} is needed");
        return Err(GpuError::new("cuDeviceGetAttribute", reason));
    }
    if driver < OLDEST_DRIVER {
        let (found, needed) = (dotted(driver), dotted(OLDEST_DRIVER));
        let reason =
            format!("the driver is that of CUDA {found}; {needed} is needed (530 or newer)");
        return Err(GpuError::new("cuDriverGetVersion", reason));
    }
    Ok(())
}

/// Whether there is a GPU on which the kernels can run, told without starting it.
pub fn usable() -> bool {
    list().is_ok_and(|(gpus, driver)| gpus.first().is_some_and(|gpu| check(gpu, driver).is_ok()))
}

fn failed(call: &str, error: DriverError) -> GpuError {
    // Its text may itself ask the driver, which is there if there is such an error.
    GpuError::new(call, error)
}

/// PTX that a driver did not take.
fn not_loaded(file: &str, error: DriverError) -> GpuError {
    let call = format!("cuModuleLoadData of {file}.ptx");
    match error.0 {
        sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            let reason = "an edited kernel was compiled by an NVRTC that is newer than the driver: \
                          12.1 suits every driver";
            GpuError::new(call, reason)
        }
        _ => failed(&call, error),
    }
}

/// How many GPUs there are, at least one. The calls in this order fail where others would panic.
fn count() -> Result<usize, GpuError> {
    // SAFETY: it only tries to open the library.
    if !unsafe { sys::is_culib_present() } {
        let reason = "there is no NVIDIA driver on this machine (its library libcuda is not found)";
        return Err(GpuError::new("cuInit", reason));
    }
    result::init().map_err(|error| failed("cuInit", error))?;
    let count = CudaContext::device_count().map_err(|error| failed("cuDeviceGetCount", error))?;
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => {
            let reason = "the driver shows no GPU (CUDA_VISIBLE_DEVICES may hide it)";
            Err(GpuError::new("cuDeviceGetCount", reason))
        }
    }
}

fn describe(ordinal: usize) -> Result<Description, GpuError> {
    use sys::CUdevice_attribute as Attribute;
    let failed = |error| failed("cuDeviceGetAttribute", error);
    let device = result::device::get(ordinal as i32).map_err(failed)?;
    let attribute = |attribute| {
        // SAFETY: the driver gave this device.
        unsafe { result::device::get_attribute(device, attribute) }.map_err(failed)
    };
    Ok(Description {
        name: result::device::get_name(device).map_err(failed)?,
        compute_capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        // SAFETY: likewise.
        memory: unsafe { result::device::total_mem(device) }.map_err(failed)?,
    })
}

/// A GPU with the kernels loaded.
pub struct Device {
    description: Description,
    stream: Arc<CudaStream>,
    kernels: HashMap<&'static str, CudaFunction>,
}

/// Memory of a [`Device`].
pub struct Memory {
    bytes: usize,
    address: u64,
    /// Freed with this.
    slice: CudaSlice<u8>,
}

/// What a [`Device`] writes behind the CPU's back. It waits for the last copy before it goes.
pub struct Mirror {
    /// Pinned, or the copy would wait.
    bytes: PinnedHostSlice<u8>,
    /// The last copy is done.
    arrived: CudaEvent,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // Without tracking of events the memory would be freed under the copy. A GPU that fails here
        // has failed before.
        let _ = self.arrived.synchronize();
    }
}

impl Device {
    /// The GPU of this number, from 0 on, with the kernels of the layers and optimisers.
    ///
    /// # Errors
    /// If there is none, if it is too old, or if the driver cannot compile the kernels.
    pub fn open(ordinal: usize) -> Result<Self, GpuError> {
        Self::with_files(ordinal, |file| !file.is_for_study())
    }

    /// The same with all kernels, those of [`super::sgemm`] and [`super::peak`] among them, which a
    /// driver that meets them for the first time compiles for seconds.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with_all(ordinal: usize) -> Result<Self, GpuError> {
        Self::with_files(ordinal, |_| true)
    }

    fn with_files(ordinal: usize, wanted: impl Fn(&File) -> bool) -> Result<Self, GpuError> {
        let (mut gpus, driver) = list()?;
        if ordinal >= gpus.len() {
            let reason = format!(
                "there is no GPU {ordinal}: they are 0 to {}",
                gpus.len() - 1
            );
            return Err(GpuError::new("cuDeviceGet", reason));
        }
        let description = gpus.swap_remove(ordinal);
        check(&description, driver)?;
        let context =
            CudaContext::new(ordinal).map_err(|error| failed("cuDevicePrimaryCtxRetain", error))?;
        // SAFETY: memory is used on the stream alone that it was allocated on, in its order, so nothing
        // waits for an event; those who have `another` keep to it.
        unsafe { context.disable_event_tracking() };
        let stream = new_stream(&context)?;
        let mut kernels = HashMap::new();
        for file in FILES.iter().filter(|file| wanted(file)) {
            let module = context
                .load_module(Ptx::from_src(file.ptx()?.as_ref()))
                .map_err(|error| not_loaded(file.name, error))?;
            for &kernel in file.kernels {
                let function = module
                    .load_function(kernel)
                    .map_err(|error| failed(&format!("cuModuleGetFunction of {kernel}"), error))?;
                allow_all_shared(&function)
                    .map_err(|error| failed(&format!("cuFuncSetAttribute of {kernel}"), error))?;
                kernels.insert(kernel, function);
            }
        }
        Ok(Self {
            description,
            stream,
            kernels,
        })
    }

    /// The same GPU and the kernels that are loaded there, on a stream of its own, with which memory of
    /// this one is not to be used.
    ///
    /// # Errors
    /// If the driver has no stream left.
    pub fn another(&self) -> Result<Self, GpuError> {
        Ok(Self {
            description: self.description.clone(),
            stream: new_stream(self.stream.context())?,
            kernels: self.kernels.clone(),
        })
    }

    /// What it says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }
}

/// Lets launches ask for as much shared memory as there is beside the kernel's own.
fn allow_all_shared(function: &CudaFunction) -> Result<(), DriverError> {
    use sys::CUfunction_attribute_enum as Attribute;
    let own = function.get_attribute(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?;
    let most = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    function.set_attribute(most, MOST_SHARED - own)
}

fn new_stream(context: &Arc<CudaContext>) -> Result<Arc<CudaStream>, GpuError> {
    let stream = context.new_stream();
    stream.map_err(|error| failed("cuStreamCreate", error))
}

impl Memory {
    /// The address of byte `at`, of `count` bytes that are there.
    fn address(&self, call: &str, at: usize, count: usize) -> Result<u64, GpuError> {
        match at.checked_add(count) {
            Some(end) if end <= self.bytes => Ok(self.address + at as u64),
            _ => {
                let reason = format!("{count} bytes from {at} on are not in {}", self.bytes);
                Err(GpuError::new(call, reason))
            }
        }
    }
}

impl Gpu for Device {
    type Memory = Memory;
    type Graph = CudaGraph;
    type Mirror = Mirror;

    fn name(&self) -> String {
        self.description.name.clone()
    }

    fn allocate(&self, bytes: usize) -> Result<Memory, GpuError> {
        // SAFETY: nobody relies on what is in it.
        let slice = unsafe { self.stream.alloc::<u8>(bytes.max(1)) }
            .map_err(|error| failed(&format!("allocating {bytes} bytes"), error))?;
        let (address, _) = slice.device_ptr(&self.stream);
        Ok(Memory {
            bytes,
            address,
            slice,
        })
    }

    fn upload(&self, to: &Memory, at: usize, bytes: &[u8]) -> Result<(), GpuError> {
        let address = to.address("cuMemcpyHtoDAsync", at, bytes.len())?;
        if bytes.is_empty() {
            return Ok(());
        }
        let failed = |error| failed("cuMemcpyHtoDAsync", error);
        self.stream.context().bind_to_thread().map_err(failed)?;
        // SAFETY: so many bytes are there; the source may go when the stream is done with it.
        unsafe { result::memcpy_htod_async(address, bytes, self.stream.cu_stream()) }
            .map_err(failed)?;
        self.stream.synchronize().map_err(failed)
    }

    fn download(&self, from: &Memory, at: usize, to: &mut [u8]) -> Result<(), GpuError> {
        let address = from.address("cuMemcpyDtoHAsync", at, to.len())?;
        let failed = |error| failed("cuMemcpyDtoHAsync", error);
        if to.is_empty() {
            return self.stream.synchronize().map_err(failed);
        }
        self.stream.context().bind_to_thread().map_err(failed)?;
        // SAFETY: so many bytes are there, and are waited for below.
        unsafe { result::memcpy_dtoh_async(to, address, self.stream.cu_stream()) }
            .map_err(failed)?;
        self.stream.synchronize().map_err(failed)
    }

    fn mirror(&self, bytes: usize) -> Result<Mirror, GpuError> {
        let context = self.stream.context();
        // SAFETY: nobody relies on what is in it.
        let pinned = unsafe { context.alloc_pinned_with_flags(bytes.max(1), 0) };
        Ok(Mirror {
            bytes: pinned.map_err(|error| failed("cuMemHostAlloc", error))?,
            arrived: context
                .new_event(None)
                .map_err(|error| failed("cuEventCreate", error))?,
        })
    }

    fn ask(&self, from: &Memory, mirror: &mut Mirror) -> Result<(), GpuError> {
        let call = "cuMemcpyDtoHAsync";
        let count = mirror.bytes.len();
        from.address(call, 0, count)?;
        self.stream
            .memcpy_dtoh(&from.slice.slice(..count), &mut mirror.bytes)
            .map_err(|error| failed(call, error))?;
        (mirror.arrived.record(&self.stream)).map_err(|error| failed("cuEventRecord", error))
    }

    fn answer<'a>(&self, mirror: &'a Mirror) -> Result<Option<&'a [u8]>, GpuError> {
        let failed = |error| failed("cuEventQuery", error);
        match mirror.arrived.try_is_complete().map_err(failed)? {
            true => Ok(Some(mirror.bytes.as_slice().map_err(failed)?)),
            false => Ok(None),
        }
    }

    unsafe fn launch(
        &self,
        kernel: &'static str,
        grid: Grid,
        arguments: &[Argument<Memory>],
    ) -> Result<(), GpuError> {
        let Some(function) = self.kernels.get(kernel) else {
            return Err(GpuError::new(kernel, "there is no such kernel"));
        };
        let addresses = arguments.iter().map(|argument| match argument {
            Argument::Memory(memory, at) => memory.address(kernel, *at, 0),
            _ => Ok(0),
        });
        let addresses: Vec<u64> = addresses.collect::<Result<_, _>>()?;
        let mut launch = self.stream.launch_builder(function);
        for (argument, address) in arguments.iter().zip(&addresses) {
            match argument {
                Argument::Memory(..) => launch.arg(address),
                Argument::I32(number) => launch.arg(number),
                Argument::U32(number) => launch.arg(number),
                Argument::U64(number) => launch.arg(number),
                Argument::F32(number) => launch.arg(number),
                Argument::F64(number) => launch.arg(number),
                Argument::Windows(sizes) => launch.arg(sizes),
                Argument::Linear(sizes) => launch.arg(sizes),
                Argument::Classifier(layers) => launch.arg(*layers),
                Argument::Convnet(network) => launch.arg(*network),
                Argument::Update(update) => launch.arg(update),
            };
        }
        let shape = LaunchConfig {
            grid_dim: (grid.blocks, 1, 1),
            block_dim: (grid.threads, 1, 1),
            shared_mem_bytes: grid.shared,
        };
        // SAFETY: the caller's.
        match unsafe { launch.launch(shape) } {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(kernel, error)),
        }
    }

    fn record<E>(&self, launches: impl FnOnce() -> Result<(), E>) -> Option<CudaGraph> {
        // What other threads do with the driver meanwhile is theirs.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode).ok()?;
        let launched = launches();
        // The stream records until it is told to end.
        let graph = self.stream.end_capture(sys::CUgraphInstantiate_flags(0));
        launched.ok().and(graph.ok().flatten())
    }

    unsafe fn replay(&self, graph: &CudaGraph) -> Result<(), GpuError> {
        graph
            .launch()
            .map_err(|error| failed("cuGraphLaunch", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_says_what_is_needed() {
        let gpu = |compute_capability| Description {
            name: "T4".to_owned(),
            compute_capability,
            memory: 1,
        };
        assert!(check(&gpu((7, 5)), (12, 1)).is_ok());
        assert!(check(&gpu((9, 0)), (13, 0)).is_ok());
        for (capability, driver, expected) in [
            (
                (7, 0),
                (12, 8),
                "T4 has compute capability 7.0; 7.5 is needed",
            ),
            (
                (8, 0),
                (12, 0),
                "the driver is that of CUDA 12.0; 12.1 is needed (530 or newer)",
            ),
        ] {
            let error = check(&gpu(capability), driver).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
