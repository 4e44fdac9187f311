//! Compiles the C library of the example `wrap_c_library`.

fn main() {
    let source = "examples/wrap_c_library/fragile.c";
    println!("cargo::rerun-if-changed={source}");
    println!("cargo::rerun-if-changed=build.rs");
    // It prints where the library is; the example itself names it (`#[link]`).
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    cc::Build::new()
        .file(source)
        .cargo_metadata(false)
        .compile("fragile");
    println!("cargo::rustc-link-search=native={out}");
}
