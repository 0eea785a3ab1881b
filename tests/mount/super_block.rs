//! What a mount writes into the superblock, side by side with the kernel of this machine.

use std::path::Path;

use daxkit_device::pmem::PersistentMemory;
use daxkit_format::dax::DaxMode;
use daxkit_format::ext4::super_block::{SuperBlock, parse};
use daxkit_mount::fs::ext4::Ext4Fs;
use daxkit_mount::vfs::mount::remount;

use crate::bad_images::make;
use crate::machine::{Machine, SB, ext4};
use crate::shared::oracle::Mounted;

/// State, mounts since the last check, mounts between two.
type Noted = (u16, u16, u16);

const NOW: i64 = 5_000_000_000;

fn noted(sb: &SuperBlock) -> Noted {
    (sb.s_state.get(), sb.s_mnt_count.get(), sb.s_max_mnt_count.get())
}

fn on_disk(image: &Path) -> Noted {
    let bytes = std::fs::read(image).expect("the image is read");
    noted(&parse(&bytes[1024..2048]).expect("a superblock"))
}

fn on_media(fs: &Ext4Fs) -> SuperBlock {
    let mut bytes = [0; 1024];
    fs.memory().peek(1024, &mut bytes).expect("it is not poisoned");
    parse(&bytes).expect("a superblock")
}

#[test]
fn a_mount_is_noted_as_the_kernel_notes_it() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let journal = ("-O has_journal", false);
    let none = ("-O ^has_journal", false);
    for (options, unclean) in [journal, none, ("-O ^has_journal", true), ("-O has_journal,orphan_file", false)] {
        let image = make(dir.path(), &format!("-t ext4 -b 4096 {options}"), "16M");
        if unclean {
            // As a mount without a journal leaves it that was cut off.
            crate::bad_images::changed(&image, |bytes| {
                bytes[1024 + 0x3A] = 0;
                bytes[1024 + 0x34] = 7;
                bytes[1024 + 0x36] = 30;
                let mut sb = parse(&bytes[1024..2048]).expect("a superblock");
                sb.seal();
                bytes[1024..2048].copy_from_slice(zerocopy::IntoBytes::as_bytes(&sb));
            });
        }
        let machine = Machine::of(ext4(&image, NOW).expect("it mounts"), DaxMode::Never, NOW);
        let media = || machine.shared.with(|w| on_media(&w.sb(SB).fs));
        let first = media();
        assert_eq!((first.s_mtime.get(), first.s_mtime_hi), (NOW as u32, 1), "{options}");
        remount(&machine.rt, SB, None, None, Some(true)).expect("ro");
        let read_only = noted(&media());
        remount(&machine.rt, SB, None, None, Some(false)).expect("rw");
        let again = noted(&media());
        let ours = (noted(&first), read_only, again, noted(&on_media(&machine.umount())));

        let at = dir.path().join("mnt");
        let mounted = Mounted::new(&image, &at, "rw").expect("the kernel mounts it");
        let first = on_disk(&image);
        let kernel = |how: &str| {
            let mut command = crate::shared::tools::system("mount");
            crate::shared::tools::succeed(command.args(["-o", &format!("remount,{how}")]).arg(&at)).expect("a remount");
            on_disk(&image)
        };
        let (read_only, again) = (kernel("ro"), kernel("rw"));
        mounted.unmount().expect("umount");
        assert_eq!(ours, (first, read_only, again, on_disk(&image)), "{options}");
        assert_eq!(ours.0.0 & 1 == 1, !options.contains("^has_journal"), "{options}");
    }
}
