//! NVRTC, NVIDIA's compiler of CUDA C++ as a library. It is looked for when a kernel was edited, whose
//! PTX the program does not carry; it needs no GPU.
//!
//! Its functions: NVIDIA, *NVRTC* (docs.nvidia.com/cuda/nvrtc).

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use libloading::Library;

use super::GpuError;

/// Names of the library. The kernels need nothing that version 12 has not, and more drivers load its PTX.
const NAMES: [&str; 3] = ["libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so"];

/// How the kernels are compiled: for the oldest GPU that is supported, as the program's own PTX is.
pub const OPTIONS: [&CStr; 2] = [c"--std=c++17", c"--gpu-architecture=compute_75"];

/// A program of its.
type Program = *mut c_void;

/// The library, opened.
pub struct Nvrtc {
    library: Library,
}

/// A name and a text.
pub type Source<'a> = (&'a str, &'a str);

impl Nvrtc {
    /// Opens it from where the loader looks, from `CUDA_PATH` or from the active virtual environment.
    ///
    /// # Errors
    /// What to install, if it is nowhere.
    pub fn find() -> Result<Self, GpuError> {
        let mut found = String::new();
        for name in NAMES {
            // SAFETY: what NVIDIA's library does when it is loaded is to be trusted.
            if let Ok(library) = unsafe { Library::new(name) } {
                return Ok(Self { library });
            }
        }
        let here = std::env::current_dir().and_then(|here| here.canonicalize());
        for path in candidates(|name| std::env::var_os(name)) {
            let Ok(path) = path.canonicalize() else {
                continue;
            };
            // Whoever put a library beside the work need not be whoever runs the program.
            if here.as_ref().is_ok_and(|here| path.starts_with(here)) {
                found += &format!(
                    "; {} is below the current folder, from which no library is loaded",
                    path.display()
                );
                continue;
            }
            match open(&path) {
                Ok(library) => return Ok(Self { library }),
                Err(error) => found += &format!("; {} cannot be opened: {error}", path.display()),
            }
        }
        let reason = format!(
            "the library that compiles edited kernels is neither on the loader's path nor in \
             CUDA_PATH nor in the active virtual environment: \"pip install \
             nvidia-cuda-nvrtc-cu12==12.1.105\" puts it into the latter{found}"
        );
        Err(GpuError::new("NVRTC", reason))
    }

    /// The PTX of a source that may include `headers`.
    ///
    /// # Errors
    /// With the compiler's messages, each with file and line, if it is wrong.
    pub fn compile(&self, (name, source): Source, headers: &[Source]) -> Result<String, GpuError> {
        let failed = |reason: String| GpuError::new(format!("NVRTC: {name}"), reason);
        let text = |text: &str| {
            CString::new(text).map_err(|_| failed("there is a byte 0 in the source".to_owned()))
        };
        let all = |texts: Vec<&str>| texts.into_iter().map(text).collect::<Result<Vec<_>, _>>();
        let header_names = all(headers.iter().map(|(name, _)| *name).collect())?;
        let header_texts = all(headers.iter().map(|(_, text)| *text).collect())?;
        let pointers = |texts: &[CString]| texts.iter().map(|t| t.as_ptr()).collect::<Vec<_>>();
        let (names, texts) = (pointers(&header_names), pointers(&header_texts));
        let (source, path) = (text(source)?, text(name)?);
        let call = |function: &str, status: c_int| match status {
            0 => Ok(()),
            status => Err(failed(format!("{function} gives error {status}"))),
        };

        type Create = unsafe extern "C" fn(
            *mut Program,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> c_int;
        let create = self.function::<Create>("nvrtcCreateProgram")?;
        let mut program = std::ptr::null_mut();
        // SAFETY: all texts end in 0, there are as many headers as names, and all outlive the call.
        let status = unsafe {
            create(
                &mut program,
                source.as_ptr(),
                path.as_ptr(),
                headers.len() as c_int,
                texts.as_ptr(),
                names.as_ptr(),
            )
        };
        call("nvrtcCreateProgram", status)?;
        let result = self.compile_program(program).and_then(|status| {
            let log = self.text(program, "ProgramLog")?;
            match status {
                0 => self.text(program, "PTX"),
                _ => Err(failed(format!("\n{}", log.trim_end()))),
            }
        });
        type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
        let destroy = self.function::<Destroy>("nvrtcDestroyProgram")?;
        // SAFETY: the program is one, and not used again.
        call("nvrtcDestroyProgram", unsafe { destroy(&mut program) })?;
        result
    }

    /// Compiles, and gives what the compiler says of it: 0 if nothing was wrong.
    fn compile_program(&self, program: Program) -> Result<c_int, GpuError> {
        type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
        let compile = self.function::<Compile>("nvrtcCompileProgram")?;
        let options = OPTIONS.map(CStr::as_ptr);
        // SAFETY: the program is one, and there are as many options.
        Ok(unsafe { compile(program, options.len() as c_int, options.as_ptr()) })
    }

    /// A text that a program has: its PTX, or its log.
    fn text(&self, program: Program, what: &str) -> Result<String, GpuError> {
        type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
        type Get = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
        let size_of = self.function::<Size>(&format!("nvrtcGet{what}Size"))?;
        let get = self.function::<Get>(&format!("nvrtcGet{what}"))?;
        let failed = |status| {
            let reason = format!("nvrtcGet{what} gives error {status}");
            Err(GpuError::new("NVRTC", reason))
        };
        let mut size = 0;
        // SAFETY: the program is one.
        match unsafe { size_of(program, &mut size) } {
            0 => {}
            status => return failed(status),
        }
        let mut bytes = vec![0_u8; size];
        // SAFETY: the text is as long as was said, its 0 counted.
        match unsafe { get(program, bytes.as_mut_ptr().cast()) } {
            0 => {}
            status => return failed(status),
        }
        let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(size);
        Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// The function of this name, which the caller says the type of.
    fn function<F>(&self, name: &str) -> Result<libloading::Symbol<'_, F>, GpuError> {
        // SAFETY: the types above are those of NVRTC's documentation.
        unsafe { self.library.get(name) }
            .map_err(|error| GpuError::new("NVRTC", format!("{name} is not in it: {error}")))
    }
}

/// Opens the library at `path`, and before it its builtins beside it, for it looks for those by name.
fn open(path: &Path) -> Result<Library, libloading::Error> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        use libloading::os::unix;
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for file in files {
            let name = file.file_name();
            if name.to_string_lossy().starts_with("libnvrtc-builtins.so.") {
                let flags = unix::RTLD_NOW | unix::RTLD_GLOBAL;
                // SAFETY: as for the library itself.
                if let Ok(builtins) = unsafe { unix::Library::open(Some(file.path()), flags) } {
                    // It stays as long as the program.
                    std::mem::forget(builtins);
                }
            }
        }
    }
    // SAFETY: what NVIDIA's library does when it is loaded is to be trusted.
    unsafe { Library::new(path) }
}

/// Where it may be beside the loader's path, the likeliest first, as the environment says.
fn candidates(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    // A folder that depends on the current one is none.
    let folder = |name: &str| {
        let path = PathBuf::from(variable(name)?);
        path.is_absolute().then_some(path)
    };
    let mut folders = Vec::new();
    if let Some(toolkit) = folder("CUDA_PATH") {
        folders.extend(["lib64", "lib"].map(|below| toolkit.join(below)));
    }
    if let Some(environment) = folder("VIRTUAL_ENV") {
        let versions = std::fs::read_dir(environment.join("lib"));
        for python in versions.into_iter().flatten().flatten() {
            let packages = python.path().join("site-packages/nvidia");
            // The package of version 13, and that of version 12.
            folders.extend(["cu13/lib", "cuda_nvrtc/lib"].map(|below| packages.join(below)));
        }
    }
    let names = |folder: PathBuf| NAMES.map(|name| folder.join(name));
    folders.into_iter().flat_map(names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_for_where_the_environment_says() {
        let place = tempfile::tempdir().unwrap();
        let packages = place.path().join("lib/python3.13/site-packages/nvidia");
        std::fs::create_dir_all(&packages).unwrap();
        let environment = place.path().as_os_str().to_owned();
        let found = candidates(|name| match name {
            "CUDA_PATH" => Some("/opt/cuda".into()),
            "VIRTUAL_ENV" => Some(environment.clone()),
            _ => None,
        });
        let toolkit = Path::new("/opt/cuda/lib64/libnvrtc.so.12");
        assert_eq!(found[0], toolkit);
        for below in ["cu13/lib/libnvrtc.so.13", "cuda_nvrtc/lib/libnvrtc.so.12"] {
            assert!(found.contains(&packages.join(below)), "{below}");
        }
        assert!(candidates(|_| None).is_empty());
        // Not below the current folder.
        assert!(candidates(|_| Some("cuda".into())).is_empty());
    }
}
