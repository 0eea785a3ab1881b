//! One field of every structure, changed. The tables are those of [`judge_all`].

use crate::judge::judge_all;

#[test]
fn superblocks_descriptors_and_bitmaps() {
    judge_all(
        r#"
csum64  | super.s_free_inodes_count | + 1 | Free inodes count wrong | ! | stats | Free inodes:              {after}
csum64  | super.s_mkfs_time | = @86400 | | ! | stats | Fri Jan  2 00:00:00 1970
csum64  | group.0.bg_free_blocks_count | + 1 | Free blocks count wrong for group #0 | ! | stats | {after} free blocks
csum64  | group.0.bg_block_bitmap | + 1 | conflicts with some other fs block | ! | stats | block bitmap at {after}
csum64  | group.0/block_bitmap | bit 6000 1 | Block bitmap differences:  -6000 | ! | testb 6000 | marked in use
csum64  | group.0/inode_bitmap | bit 200 1 | Inode bitmap differences:  -201 | ! | testi <201> | marked in use
csum64  | block:4+0x2ee | bytes 01 | Block bitmap differences:  -6000 | ! | testb 6000 | marked in use
csum64  | block:0+0x40c | bytes efbe | Free blocks count wrong | ! | stats | Free blocks:              48879
1k      | group.2.bg_itable_unused | + -1 | | ! | stats | 511 unused inodes
1k      | block:2+0x5c | bytes ff01 | | ! | stats | 511 unused inodes
gdt32   | group.1.bg_free_inodes_count | + 1 | Free inodes count wrong for group #1 | ! | stats | {after} free inodes
gdt32   | group.2/block_bitmap | bit 8000 1 | Block bitmap differences:  -24385 | - | testb 24385 | marked in use
gdt64   | group.0.bg_used_dirs_count | + 1 | Directories count wrong for group #0 | ! | stats | {after} used directories
plain   | group.1.bg_free_inodes_count | + 1 | Free inodes count wrong for group #1 | - | stats | {after} free inodes
plain   | group.0/inode_bitmap | bit 200 1 | Inode bitmap differences:  -201 | - | testi <201> | marked in use
plain   | super.s_free_inodes_count | + 1 | Free inodes count wrong | - | stats | Free inodes:              {after}
seed    | group.1.bg_free_inodes_count | + 1 | Free inodes count wrong for group #1 | ! | stats | {after} free inodes
seed    | super.s_uuid | = 01234567-89ab-cdef-0123-456789abcdef | | ! | stats | {after}
csum32  | group.0/block_bitmap | bit 12000 1 | Block bitmap differences:  -12000 | ! | testb 12000 | marked in use
bigalloc | group.0/block_bitmap | bit 7000 1 | Block bitmap differences:  -112000 | ! | testb 112000 | marked in use
bigalloc | group.1.bg_free_blocks_count | + 2 | Free blocks count wrong for group #1 | ! | stats | {after} free clusters
meta_bg | group.40.bg_free_blocks_count | + 2 | Free blocks count wrong for group #40 | ! | stats | {after} free blocks
meta_bg | group.79/block_bitmap | bit 400 1 | Block bitmap differences:  -40849 | ! | testb 40849 | marked in use
"#,
    );
}

#[test]
fn inodes_and_maps() {
    judge_all(
        r#"
csum64   | inode."/files/plain".i_links_count | = 5 | ref count is 5, should be 1 | ! | stat /files/plain | Links: 5
csum64   | inode."/files/plain".i_flags.DAX | = 1 | | ! | stat /files/plain | Flags: 0x2080000
csum64   | inode."/files/fast".i_size | + 1 | Symlink /files/fast (inode #16) is invalid | ! | stat /files/fast | Size: {after}
csum64   | inode."/many".i_generation | = 0x4d | | ! | stat /many | Generation: 77
csum64   | inode."/files/plain"/extent:0.ee_len | + 1 | | ! | dump_extents /files/plain | 0 -     2
csum64   | inode."/files/plain"/block:0+0x3 | bytes 58595a | | - | block_dump -f /files/plain 0 | 706c 6158 595a
csum64   | block:{@inode."/files/plain"}+0x0 | bytes ffff | | ! | stat /files/plain | Generation: 0
seed     | inode."/files/plain".i_uid_full | = 70000 | | ! | stat /files/plain | User: 70000
csum32   | inode."/files/sparse".i_projid | = 5 | | ! | stat /files/sparse | Project:     5
1k       | inode."/files/sparse".i_generation | = 0x4d | | ! | stat /files/sparse | Generation: 77
1k       | inode."/files/sparse"/node:0.eh_generation | = 9 | | ! | block_dump {@inode."/files/sparse"/node:0} | 0100 0900 0000
1k       | inode."/files/sparse"/node.eh_depth | = 1 | has an invalid extent | ! | stat /files/sparse | (ETB0)
1k       | inode."/files/sparse"/node:0.0.eh_entries | + -1 | i_blocks is | ! | block_dump {@inode."/files/sparse"/node:0.0} | 0af3 5300
1k       | inode."/files/sparse"/extent:0.0.3.ee_start | + 1 | Multiply-claimed | ! | dump_extents /files/sparse | {after}
1k       | inode."/files/sparse"/extent:0.1.ei_block | + 1 | does not match logical start | ! | dump_extents /files/sparse | {after}
1k       | block:{@inode."/files/sparse"/node:0.1}+0x8 | bytes 09 | | ! | block_dump {@inode."/files/sparse"/node:0.1} | 0000 0900 0000
gdt32    | inode."/files/sparse"/extent:0.0.3.ee_start | + 1 | Multiply-claimed | - | dump_extents /files/sparse | {after}
plain    | inode."/files/plain".i_links_count | = 5 | ref count is 5, should be 1 | - | stat /files/plain | Links: 5
indirect | inode."/files/sparse"/map:3 | + 8000 | Block bitmap differences | ! | bmap /files/sparse 3 | {after}
indirect | inode."/files/sparse"/map:12.5 | + 8000 | Block bitmap differences | - | bmap /files/sparse 17 | {after}
indirect | inode."/files/sparse"/map:13.2.1 | + 8000 | Block bitmap differences | - | bmap /files/sparse 781 | {after}
indirect | inode."/files/sparse"/map:14.0.14.0 | = 20000 | Block bitmap differences | - | bmap /files/sparse 69388 | {after}
indirect | inode."/many".i_generation | = 0x4d | | ! | stat /many | Generation: 77
"#,
    );
}

#[test]
fn attributes() {
    judge_all(
        r#"
csum64 | inode."/files/plain".xattr."user.small".e_hash | = 0x1 | has a hash (1) which is invalid | ! | inode_dump -x /files/plain | hash = 1, name_len = 5
csum64 | inode."/files/plain".xattr."user.small".e_value_size | + -1 | | ! | ea_get /files/plain user.small | user.small (4) = "smal"
csum64 | inode."/files/plain".xattr."user.block".e_hash | = 0x1 | has a hash (1) which is invalid | ! | block_dump {=inode."/files/plain".i_file_acl} | 0004 0000 0100 0000
csum64 | block:{=inode."/files/plain".i_file_acl}.h_refcount | = 2 | has reference count 2, should be 1 | ! | block_dump {=inode."/files/plain".i_file_acl} | 0000 02ea 0200 0000
csum64 | block:{=inode."/files/plain".i_file_acl}+0x4 | bytes 03 | has reference count 3, should be 1 | ! | block_dump {=inode."/files/plain".i_file_acl} | 0000 02ea 0300 0000
gdt32  | block:{=inode."/files/plain".i_file_acl}.h_refcount | = 2 | has reference count 2, should be 1 | - | block_dump {=inode."/files/plain".i_file_acl} | 0000 02ea 0200 0000
rare   | inode."/files/plain".xattr."user.large".e_value_inum | = 13 | Inode 19 has illegal extended attribute value inode 13 | ! | inode_dump -x /files/plain | value_inum = 13
rare   | inode:{=inode."/files/plain".xattr."user.large".e_value_inum}.i_links_count | = 2 | | ! | stat <{=inode."/files/plain".xattr."user.large".e_value_inum}> | Links: 2
"#,
    );
}

#[test]
fn directories() {
    judge_all(
        r#"
csum64 | dir."/files".entry."plain".file_type | = dir | has an incorrect filetype (was 2, should be 1) | ! | ls -l /files | plain
csum64 | dir."/small"/block:0/entry:12.inode | = 13 | '..' in /small (14) is /many (13), should be / (2) | ! | ls /small | 13  (12) ..
1k     | dir."/many"/block:0/dx:1.hash | = 0x12345678 | has bad min hash | ! | htree_dump /many | Entry #1: Hash 0x12345678
1k     | dir."/many"/block:0/dx:1.block | = 900 | bad block number 900 | ! | htree_dump /many | block 900
1k     | dir."/many"/block:0.hash_version | = tea | has bad max hash | ! | htree_dump /many | Hash Version: 2
1k     | dir."/many"/block:0.count | + -1 | not referenced | ! | htree_dump /many | Number of entries (count): {after}
1k     | dir."/many"/block:0.dt_reserved | = 7 | | ! | htree_dump /many | Number of entries
1k     | dir."/many"/block:3/entry:0.name_len | + -1 | has bad max hash | ! | block_dump -f /many 3 | 3000 2401
1k     | inode."/files"/block:0+0x8 | bytes 21 | First entry '!' | ! | ls /files | (12) !
1k     | block:{@dir."/files"/block:0}+0x8 | bytes 21 | First entry '!' | ! | ls /files | (12) !
inline | dir."/small".entry."tiny".file_type | = dir | has an incorrect filetype (was 2, should be 1) | ! | ls /small | tiny
inline | dir."/small".entry."a name that needs the rest of the inode".inode | + -1 | Unattached inode 19 | ! | ls /small | {after}
inline | dir."/small".entry."..".inode | = 13 | '..' in /small (13) is . (13), should be / (2) | ! | ls /small | 13
gdt64  | dir."/files".entry."plain".file_type | = dir | has an incorrect filetype (was 2, should be 1) | - | ls /files | plain
"#,
    );
}

#[test]
fn what_an_image_has_once() {
    judge_all(
        r#"
mmp      | mmp.mmp_nodename | = nobody | | ! | dump_mmp | node_name: nobody
rare     | quota.user.dqi_bgrace | + 1 | | - | block_dump {@quota.user} | 111f c0d9 0100 0000 813a 0900
rare     | quota.user/id:0.dqb_curspace | + 1024 | Usage inconsistent for ID 0 | - | get_quota user 0 | {after}
rare     | quota.project/id:0.dqb_curinodes | + 2 | Usage inconsistent for ID 0 | - | get_quota project 0 | {after}
rare     | orphan/block:0+0x8 | bytes 0d000000 | block 0 is not clean | - | block_dump {@orphan/block:0} | 0d00 0000
rare     | orphan/block:1.ob_magic | = 1 | block 1 is not clean | - | block_dump {@orphan/block:1} | 0100 0000
journal3 | journal.s_errno | = 5 | skipping journal recovery | !Journal superblock is corrupt | logdump -S | Journal errno:            5
journal2 | journal.s_errno | = 5 | skipping journal recovery | !Journal superblock is corrupt | logdump -S | Journal errno:            5
"#,
    );
}
