//! A GPU for the tests of an engine, where there is none: the kernels' own source, compiled as C++
//! and run on the CPU.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, OnceLock};

use longhand::hardware::gpu::kernels::{FILES, File};
use longhand::hardware::gpu::{Argument, Device, Gpu, GpuError, Grid};

#[derive(Default)]
pub struct EmulatedGpu {
    /// Whether it refuses to record, as a driver may.
    refuses_graphs: bool,
    /// Whether it runs blocks in the other order.
    backwards: bool,
    /// What was launched since recording began.
    recording: RefCell<Option<Vec<Launch>>>,
    /// The kernels that were launched or recorded, in their order.
    launched: Arc<Mutex<Vec<&'static str>>>,
}

/// This machine's GPU on a stream of its own, if it has one that can be used; where `NEEDS_GPU` is set,
/// it must. It is opened once for all tests of a program.
#[allow(dead_code, reason = "not every test asks for it")]
pub fn gpu() -> Option<Device> {
    // Miri opens no library.
    if cfg!(miri) {
        return None;
    }
    static OPENED: OnceLock<Option<Device>> = OnceLock::new();
    let opened = OPENED.get_or_init(|| match Device::open_with_all(0) {
        Err(error) if std::env::var_os("NEEDS_GPU").is_some() => panic!("{error}"),
        opened => opened.ok(),
    });
    opened.as_ref().map(|gpu| gpu.another().unwrap())
}

/// The bytes of shared memory that every kernel declares itself, as its PTX says.
fn declared() -> &'static HashMap<&'static str, usize> {
    static DECLARED: OnceLock<HashMap<&str, usize>> = OnceLock::new();
    DECLARED.get_or_init(|| {
        let of_file = |file: &'static File| {
            // What stands before the first kernel is any of them's.
            let mut parts = file.ptx.split(".visible .entry ");
            let of_all = shared_bytes(parts.next().unwrap_or(""));
            parts.map(move |part| {
                let name = part.split('(').next().unwrap_or("");
                (name, of_all + shared_bytes(part))
            })
        };
        FILES.iter().flat_map(of_file).collect()
    })
}

/// The sum of lines as `.shared .align 8 .b8 name[8192];`, and of single bytes.
fn shared_bytes(ptx: &str) -> usize {
    let declarations = ptx.lines().map(str::trim_start);
    let declarations = declarations.filter(|line| line.starts_with(".shared"));
    let sizes = declarations.map(|line| match line.split_once('[') {
        Some((_, size)) => size.trim_end_matches("];").parse().unwrap(),
        None => {
            assert!(line.contains(" .u8 "), "{line}");
            1
        }
    });
    sizes.sum()
}

impl EmulatedGpu {
    /// None where there is no C++ compiler, or where fibers are not wanted; then it says so.
    pub fn open() -> Option<Self> {
        if std::env::var_os("NO_EMULATED_GPU").is_some() {
            eprintln!("skipped: no kernel is tested, for NO_EMULATED_GPU is set");
            return None;
        }
        match emulated_gpu::missing() {
            // Miri runs no C++.
            None => (!cfg!(miri)).then(Self::default),
            Some(reason) => {
                eprintln!("skipped: no kernel is tested, for there is no C++ compiler: {reason}");
                None
            }
        }
    }

    /// One that records nothing.
    #[allow(dead_code, reason = "not every test asks for it")]
    pub fn without_graphs() -> Option<Self> {
        Self::open().map(|gpu| Self {
            refuses_graphs: true,
            ..gpu
        })
    }

    /// The kernels that it has launched or recorded, whoever owns it then.
    #[allow(dead_code, reason = "not every test asks for it")]
    pub fn launched(&self) -> Arc<Mutex<Vec<&'static str>>> {
        self.launched.clone()
    }

    /// One that runs blocks in the other order.
    #[allow(dead_code, reason = "not every test asks for it")]
    pub fn backwards() -> Option<Self> {
        Self::open().map(|gpu| Self {
            backwards: true,
            ..gpu
        })
    }
}

/// A kernel with its grid and the bytes of its arguments.
pub struct Launch {
    kernel: &'static str,
    grid: Grid,
    /// Each aligned for any number.
    arguments: Vec<Vec<u64>>,
}

impl Launch {
    fn new(
        kernel: &'static str,
        grid: Grid,
        arguments: &[Argument<Memory>],
    ) -> Result<Self, GpuError> {
        let arguments = arguments.iter().map(|argument| {
            let bytes = match argument {
                Argument::Memory(memory, at) => {
                    let address = memory.address(*at, 0)?;
                    address.expose_provenance().to_ne_bytes().to_vec()
                }
                Argument::I32(number) => number.to_ne_bytes().to_vec(),
                Argument::U32(number) => number.to_ne_bytes().to_vec(),
                Argument::U64(number) => number.to_ne_bytes().to_vec(),
                Argument::F32(number) => number.to_ne_bytes().to_vec(),
                Argument::F64(number) => number.to_ne_bytes().to_vec(),
                // SAFETY: these are numbers of four bytes, without padding.
                Argument::Windows(sizes) => unsafe { bytes_of(sizes) },
                // SAFETY: likewise.
                Argument::Linear(sizes) => unsafe { bytes_of(sizes) },
                // SAFETY: likewise.
                Argument::Classifier(layers) => unsafe { bytes_of(*layers) },
                // SAFETY: likewise.
                Argument::Convnet(network) => unsafe { bytes_of(*network) },
                // SAFETY: likewise.
                Argument::Update(update) => unsafe { bytes_of(update) },
            };
            let mut words = vec![[0; 8]; bytes.len().div_ceil(8)];
            (words.as_flattened_mut()[..bytes.len()]).copy_from_slice(&bytes);
            Ok(words.into_iter().map(u64::from_ne_bytes).collect())
        });
        Ok(Self {
            kernel,
            grid,
            arguments: arguments.collect::<Result<_, _>>()?,
        })
    }

    /// # Safety
    /// As [`Gpu::launch`].
    unsafe fn run(&self, backwards: bool) -> Result<(), GpuError> {
        // A kernel is given the address of each argument.
        let place = |words: &Vec<u64>| words.as_ptr().cast::<c_void>().cast_mut();
        let mut pointers: Vec<*mut c_void> = self.arguments.iter().map(place).collect();
        let Grid {
            blocks,
            threads,
            shared,
        } = self.grid;
        // A test's own kernels are not among them.
        let own = declared().get(self.kernel).copied().unwrap_or(0);
        let together = own + shared as usize;
        if together > 64 << 10 {
            let reason = format!("{together} bytes of shared memory: a block has at most 64 KiB");
            return Err(GpuError::new(self.kernel, reason));
        }
        // SAFETY: the caller's, and a kernel does not write its arguments.
        let launched = unsafe {
            emulated_gpu::launch(
                self.kernel,
                blocks,
                threads,
                shared,
                backwards,
                &mut pointers,
            )
        };
        launched.map_err(|reason| GpuError::new("launch", reason))
    }
}

/// # Safety
/// No byte of it may be padding.
unsafe fn bytes_of<T>(value: &T) -> Vec<u8> {
    // SAFETY: all bytes of a value may be read, unless they are padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }.to_vec()
}

/// What was asked for. As a GPU's answer it is not there at once.
pub struct Mirror {
    bytes: Vec<u8>,
    there: Cell<bool>,
}

/// Memory that kernels write though it is only lent to them, as a GPU's is.
pub struct Memory {
    /// As many bytes as were asked for and no more, so that AddressSanitizer sees where they end.
    start: *mut u8,
    bytes: usize,
}

// SAFETY: what is in it is reached through `Gpu` alone, whose calls come one after the other.
unsafe impl Send for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was allocated with the same layout.
        unsafe { dealloc(self.start, layout(self.bytes)) };
    }
}

/// So many bytes, at least 1, aligned for any number.
fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes.max(1), 16).expect("tests ask for little")
}

impl Memory {
    /// The address of byte `at`, of `count` bytes that are there.
    fn address(&self, at: usize, count: usize) -> Result<*mut u8, GpuError> {
        if at.checked_add(count).is_none_or(|end| end > self.bytes) {
            let reason = format!("{count} bytes from {at} on are not in {}", self.bytes);
            return Err(GpuError::new("copy", reason));
        }
        // SAFETY: `at` is at most the memory's length.
        Ok(unsafe { self.start.add(at) })
    }
}

impl Gpu for EmulatedGpu {
    type Memory = Memory;
    type Graph = Vec<Launch>;
    type Mirror = Mirror;

    fn name(&self) -> String {
        "emulated".to_owned()
    }

    fn allocate(&self, bytes: usize) -> Result<Memory, GpuError> {
        // SAFETY: a layout has at least a byte.
        let start = unsafe { alloc(layout(bytes)) };
        assert!(!start.is_null(), "no memory for {bytes} bytes");
        // All bits set are NaN, which a kernel that reads what nobody wrote would spread.
        // SAFETY: so many bytes were just allocated.
        unsafe { start.write_bytes(0xff, bytes) };
        Ok(Memory { start, bytes })
    }

    fn upload(&self, to: &Memory, at: usize, bytes: &[u8]) -> Result<(), GpuError> {
        let address = to.address(at, bytes.len())?;
        // SAFETY: so many bytes are there, and nobody else reads or writes them meanwhile.
        unsafe { address.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    fn download(&self, from: &Memory, at: usize, to: &mut [u8]) -> Result<(), GpuError> {
        let address = from.address(at, to.len())?;
        // SAFETY: as in `upload`; every byte was written when it was allocated.
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(address, to.len()) };
        Ok(())
    }

    fn mirror(&self, bytes: usize) -> Result<Mirror, GpuError> {
        Ok(Mirror {
            bytes: vec![0; bytes],
            there: Cell::new(true),
        })
    }

    fn ask(&self, from: &Memory, mirror: &mut Mirror) -> Result<(), GpuError> {
        mirror.there.set(false);
        self.download(from, 0, &mut mirror.bytes)
    }

    fn answer<'a>(&self, mirror: &'a Mirror) -> Result<Option<&'a [u8]>, GpuError> {
        let there = mirror.there.replace(true);
        Ok(there.then_some(&mirror.bytes))
    }

    unsafe fn launch(
        &self,
        kernel: &'static str,
        grid: Grid,
        arguments: &[Argument<Memory>],
    ) -> Result<(), GpuError> {
        let launch = Launch::new(kernel, grid, arguments)?;
        self.launched.lock().unwrap().push(kernel);
        match self.recording.borrow_mut().as_mut() {
            Some(launches) => launches.push(launch),
            // SAFETY: the caller's.
            None => unsafe { launch.run(self.backwards)? },
        }
        Ok(())
    }

    fn record<E>(&self, launches: impl FnOnce() -> Result<(), E>) -> Option<Vec<Launch>> {
        if self.refuses_graphs {
            return None;
        }
        self.recording.replace(Some(Vec::new()));
        let launched = launches();
        let recorded = self.recording.take();
        launched.ok().and(recorded)
    }

    unsafe fn replay(&self, graph: &Vec<Launch>) -> Result<(), GpuError> {
        // SAFETY: the caller's.
        graph
            .iter()
            .try_for_each(|launch| unsafe { launch.run(self.backwards) })
    }
}
