//! Going back to a snapshot allocates nothing once the arrays are as large as they get.

#[path = "../../../tests/shared/counted.rs"]
mod counted;

use counted::allocations;
use daxkit_device::pmem::{Both, Counting, Cpu, Domain, Persistence, PersistentMemory, Pmem, PmemOptions, Watch};

fn run<W: Watch>(watch: W) {
    const A: Cpu = Cpu(1);
    let mut memory = Pmem::zeroed(64 << 20, PmemOptions::default(), watch).unwrap();
    for n in 0..64 {
        memory.store_u64(A, n * 5000, n + 1).unwrap();
    }
    memory.poison(1 << 20..(1 << 20) + 1);
    let snapshot = memory.clone();
    let mut before = 0;
    for round in 0..20 {
        if round == 2 {
            before = allocations();
        }
        for n in 0..100 {
            memory.store(A, n * 7001, &[1; 100]).unwrap();
            memory.clwb(A, n * 7001).unwrap();
        }
        memory.zero(A, 4096, 8192).unwrap();
        memory.sfence(A);
        memory.clone_from(&snapshot);
        assert_eq!(memory.load_u64(A, 5000).unwrap(), 2);
        assert_eq!(memory.load_u64(A, 7001).unwrap(), 0);
    }
    assert!(before > 0, "the counter counts");
    assert_eq!(allocations() - before, 0);
}

#[test]
fn clone_from_allocates_nothing_whoever_watches() {
    run(daxkit_device::pmem::NoWatch);
    run(Counting::default());
    run(Persistence::new(Domain::Adr));
    run(Both(Counting::default(), Persistence::new(Domain::Adr)));
}
