//! Compiles the kernels as C++, if there is a compiler.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(no_compiler)");
    println!("cargo::rerun-if-changed=../../kernels");
    println!("cargo::rerun-if-changed=src");
    let compiled = cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file("src/emulation.cpp")
        .include("../../kernels")
        .opt_level(2)
        .try_compile("emulated_gpu");
    if let Err(error) = compiled {
        println!("cargo::rustc-cfg=no_compiler");
        let reason = error.to_string().replace('\n', " ");
        println!("cargo::rustc-env=NO_COMPILER={reason}");
        println!("cargo::warning=the CUDA kernels are not tested: {reason}");
    }
}
