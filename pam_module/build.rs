//! Linker flags of the module.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CC");
    // The standard library registers thread-local destructors with libc. Unloading the module between
    // two logins of one process would leave them pointing at nothing.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // No symbol is looked up lazily, and the table that holds them is read only afterwards.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,relro,-z,now");
    // GCC's unwinder, which catching panics takes, from the archive: its shared library costs each login a third of
    // the module's time, most of it for asking the processor what it can do. Where the archive is not to be
    // had, the standard library's own request for the shared one stands.
    if let Some(directory) = unwinder() {
        println!("cargo:rustc-link-search=native={}", directory.display());
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}

/// Where the C compiler has the archive.
fn unwinder() -> Option<PathBuf> {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(compiler).arg("-print-file-name=libgcc_eh.a").output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
    // A name alone means that there is none.
    path.is_absolute().then(|| path.parent().map(PathBuf::from)).flatten()
}
