//! Linker flags of the module.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The standard library registers thread-local destructors with libc. Unloading the module between
    // two logins of one process would leave them pointing at nothing.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // No symbol is looked up lazily, and the table that holds them is read only afterwards.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,relro,-z,now");
}
