//! dax-mkfs
fn main() {}
