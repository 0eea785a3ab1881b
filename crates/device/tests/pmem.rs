//! Persistent memory as its users have it: contents over a base, poison, the driver, a handle that many share.

use std::sync::Arc;

use daxkit_device::pmem::{
    Both, Counting, Cpu, Domain, NoWatch, Persistence, PersistentMemory, Pfn, Pmem, PmemAlign, PmemCounts, PmemError,
    PmemHandle, PmemOptions, Resident, Zeroes,
};
use daxkit_device::{BlockDevice, DeviceError, MemoryDevice};
use proptest::prelude::*;

const A: Cpu = Cpu(1);
const MIB2: u64 = 2 << 20;

fn options() -> PmemOptions {
    PmemOptions { align: PmemAlign::None, ..PmemOptions::default() }
}

fn plain(size: u64) -> Pmem<Zeroes> {
    Pmem::zeroed(size, options(), NoWatch).unwrap()
}

#[test]
fn a_length_that_no_pmem_device_has_is_refused() {
    let made = |size, align| Pmem::zeroed(size, PmemOptions { align, ..options() }, NoWatch);
    assert!(made(127 << 20, PmemAlign::Mib2).is_err() && made(0, PmemAlign::None).is_err());
    assert!(matches!(made(5000, PmemAlign::None), Err(PmemError::BadLength { len: 5000, multiple_of: 4096 })));
    assert!(made(MIB2, PmemAlign::Mib2).is_ok() && made(4096, PmemAlign::None).is_ok());
}

#[test]
fn frames_and_addresses_lead_to_each_other() {
    let m = plain(4 * MIB2);
    let access = m.direct_access(3, 1).unwrap();
    assert_eq!((access.pfn, access.pages), (Pfn(m.start().0 + 3), 2048 - 3));
    assert_eq!(m.address_of(access.pfn, 17).unwrap(), 3 * 4096 + 17);
    assert!(m.address_of(Pfn(0), 0).is_err() && m.address_of(Pfn(m.start().0 + 2048), 0).is_err());
    assert!(m.address_of(access.pfn, 4096).is_err());
    for (pgoff, pages) in [(2048, 1), (2047, 2), (u64::MAX, 1), (1, u64::MAX)] {
        assert!(matches!(m.direct_access(pgoff, pages), Err(PmemError::OutOfRange { .. })));
    }
}

#[test]
fn a_load_of_poison_fails_and_a_store_does_not_heal_it() {
    let mut m = plain(MIB2);
    m.poison(4096 + 100..4096 + 101);
    assert!(matches!(m.load_u64(A, 4096 + 60), Err(PmemError::Poisoned { addr }) if addr == 4096 + 64));
    assert_eq!(m.load_u64(A, 4096).unwrap(), 0, "another line of the sector");
    m.store(A, 4096 + 64, &[7; 64]).unwrap();
    assert!(m.load_u64(A, 4096 + 64).is_err());
    let mut byte = [0];
    assert!(matches!(m.driver_read(A, 4096, &mut byte), Err(PmemError::Poisoned { .. })), "the driver knows sectors");
    m.driver_read(A, 4096 + 512, &mut byte).unwrap();
    assert!(m.driver_write(A, 4096 + 64, &[1; 64]).is_err(), "not a whole sector");
    assert!(m.driver_write(A, 4096 + 1, &[1; 511]).is_err());
    m.driver_write(A, 4096, &[9; 512]).unwrap();
    assert_eq!(m.load_u64(A, 4096 + 64).unwrap(), u64::from_le_bytes([9; 8]));
    assert_eq!(m.poisoned().count(), 0);
}

#[test]
fn direct_access_and_recovery_see_poison_as_the_driver_does() {
    let mut m = plain(MIB2);
    m.poison(5 * 4096 + 700..5 * 4096 + 701);
    assert_eq!(m.direct_access(0, 5).unwrap().pages, 5, "no more than asked for, with poison elsewhere");
    assert!(matches!(m.direct_access(4, 2), Err(PmemError::Poisoned { .. })));
    assert_eq!(m.recovery_access(3, 9).unwrap().pages, 2);
    assert_eq!(m.recovery_access(5, 9).unwrap().pages, 1);
    assert_eq!(m.recovery_write(A, 5 * 4096 + 512, &[1; 512]).unwrap(), 0, "whole pages only");
    assert_eq!(m.recovery_write(A, 5 * 4096, &[1; 4096]).unwrap(), 4096);
    assert_eq!(m.direct_access(4, 2).unwrap().pages, 508);
    m.poison(0..4096);
    m.zero(A, 0, 4096).unwrap();
    assert_eq!(m.load_u64(A, 8).unwrap(), 0);
}

#[test]
fn a_volume_and_a_mount_share_one_memory() {
    let memory = Pmem::zeroed(MIB2, options(), Both(Counting::default(), Persistence::new(Domain::Adr))).unwrap();
    let mut mount = PmemHandle::new(memory);
    let volume: Arc<dyn BlockDevice> = Arc::new(mount.clone());
    assert_eq!(volume.next_data(0).unwrap(), None);
    volume.write_at(1000, b"abc").unwrap();
    let mut buf = [0; 3];
    mount.load(A, 1000, &mut buf).unwrap();
    assert_eq!(&buf, b"abc");
    assert!(!mount.with(|m| m.watch().1.is_durable()));
    mount.driven_by(Cpu(9)).flush().unwrap();
    assert!(!mount.with(|m| m.watch().1.is_durable()), "another CPU's fence");
    volume.flush().unwrap();
    assert!(mount.with(|m| m.watch().1.is_durable()));
    let kept = mount.snapshot();
    mount.store(A, 1000, b"xyz").unwrap();
    volume.read_at(1000, &mut buf).unwrap();
    assert_eq!(&buf, b"xyz");
    mount.restore(&kept);
    volume.read_at(1000, &mut buf).unwrap();
    assert_eq!(&buf, b"abc");
    let counts = mount.with(|m| m.watch().0.counts());
    let expected =
        PmemCounts { loads: 2, bytes_loaded: 6, nt_stores: 1, bytes_stored: 3, fences: 2, ..PmemCounts::default() };
    assert_eq!(counts, expected);
    mount.with(|m| m.poison(MIB2 - 1..u64::MAX));
    assert!(matches!(volume.read_at(MIB2 - 512, &mut buf), Err(DeviceError::BadSector { .. })));
    assert_eq!(volume.next_data(1 << 20).unwrap(), Some(MIB2 - 64..MIB2), "poison in a hole is met");
    volume.write_zeroes(MIB2 - 512, 512).unwrap();
    assert_eq!(volume.next_data(0).unwrap().unwrap().start, 1000 / 64 * 64);
}

#[test]
fn writing_through_needs_the_base_alone() {
    let mut m = Pmem::new(Arc::new(MemoryDevice::new(8192)), options(), NoWatch).unwrap();
    m.store_u64(A, 60, u64::MAX).unwrap();
    let snapshot = m.clone();
    assert!(matches!(m.write_through(), Err(PmemError::SharedBase)));
    drop(snapshot);
    m.write_through().unwrap();
    assert_eq!((m.touched_lines(), m.load_u64(A, 60).unwrap()), (0, u64::MAX));
    assert_eq!(m.base().to_vec()[59..69], [0, 255, 255, 255, 255, 255, 255, 255, 255, 0]);
}

proptest! {
    #[test]
    fn contents_are_those_of_an_array(
        base in prop::collection::vec(any::<u8>(), 16384),
        ops in prop::collection::vec((0u8..5, 0usize..16384, 0usize..6000, any::<u8>()), 1..40),
    ) {
        let device = MemoryDevice::from_bytes(&base);
        device.write_zeroes(4096, 4096).unwrap();
        let mut model = device.to_vec();
        let resident = Resident::read(&device).unwrap();
        prop_assert_eq!(resident.next_data(0).unwrap(), Some(0..4096));
        let mut m = Pmem::new(Arc::new(resident), options(), NoWatch).unwrap();
        let mut kept = (m.clone(), model.clone());
        for (op, at, len, byte) in ops {
            let len = len.min(model.len() - at);
            let data = vec![byte; len];
            match op {
                0 => m.store(A, at as u64, &data).unwrap(),
                1 => m.driver_write(A, at as u64, &data).unwrap(),
                2 => m.zero(A, at as u64, len as u64).unwrap(),
                3 => kept = (m.clone(), model.clone()),
                _ => {
                    m.clone_from(&kept.0);
                    model.clone_from(&kept.1);
                }
            }
            if op < 3 {
                model[at..at + len].fill(if op == 2 { 0 } else { byte });
            }
            let mut part = vec![1; len];
            m.load(A, at as u64, &mut part).unwrap();
            prop_assert_eq!(&part[..], &model[at..at + len]);
            let mut all = vec![1; model.len()];
            m.peek(0, &mut all).unwrap();
            prop_assert_eq!(&all, &model);
        }
        m.write_back_to(&device).unwrap();
        prop_assert_eq!(device.to_vec(), model);
    }
}
