//! There is nothing to build: a package that says `links` must have such a file.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
