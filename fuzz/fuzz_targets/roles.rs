//! libFuzzer on `targets/roles.rs`.
#![no_main]

#[path = "../targets/mod.rs"]
#[allow(dead_code, reason = "one of the targets is this program's")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::roles::run(data));
