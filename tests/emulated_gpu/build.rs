//! Compiles the kernels as C++, if there is a compiler.

use std::path::Path;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(no_compiler)");
    println!("cargo::rerun-if-changed=../../kernels");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-env-changed=EMULATED_GPU_SANITIZER");
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    let probe = Path::new(&out).join("probe.cpp");
    std::fs::write(&probe, "#include <ucontext.h>\n#include <string>\n").expect("a file of ours");
    // A compiler that cannot do this is none; one that can must take the kernels.
    if let Err(error) = build().file(probe).try_compile("probe") {
        println!("cargo::rustc-cfg=no_compiler");
        let reason = error.to_string().replace('\n', " ");
        println!("cargo::rustc-env=NO_COMPILER={reason}");
        println!("cargo::warning=the CUDA kernels are not tested: {reason}");
        return;
    }
    let mut kernels = build();
    kernels
        .file("src/emulation.cpp")
        .include("../../kernels")
        .flag_if_supported("-Wno-unknown-pragmas")
        // A GPU reads two or four numbers together only where such a group may begin.
        .flag_if_supported("-fsanitize=alignment")
        .flag_if_supported("-fsanitize-undefined-trap-on-error");
    // `address` or `thread`, for scripts/soundness.sh. Rust's linker is not told by the compiler which
    // library a sanitizer needs.
    match std::env::var("EMULATED_GPU_SANITIZER").as_deref() {
        Ok("address") => println!("cargo::rustc-link-lib=dylib=asan"),
        Ok("thread") => println!("cargo::rustc-link-lib=dylib=tsan"),
        _ => return kernels.compile("emulated_gpu"),
    }
    let sanitizer = std::env::var("EMULATED_GPU_SANITIZER").expect("it is one of two");
    kernels
        .flag(format!("-fsanitize={sanitizer}"))
        .flag("-fno-omit-frame-pointer")
        .debug(true)
        .compile("emulated_gpu");
}

fn build() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2);
    build
}
