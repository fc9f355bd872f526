//! A new migration is a reason to build again: the macro that embeds them sees only those that were there.

fn main() {
    println!("cargo:rerun-if-changed=platform");
}
