//! Random stacks: what layers make of them is what the model makes of them.

use super::model::{Model, Node};
use super::ustar::{Kind, Member, archive, mode_of};
use daxkit_build::progress::NoProgress;
use daxkit_build::source::{
    self, Archive, LayerError, Layers, NumericIds, OwnerPolicy, Reader, ScanOptions, Source, TarInput, TarOptions,
    exclude_set, scan,
};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Cursor;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;
use std::sync::Arc;

/// Numbers that look like chance, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len() as u64) as usize) }
    }
}

/// Puts archives on each other.
pub(crate) fn layered(layers: &[Vec<Member>]) -> Result<Source, LayerError> {
    layered_on(None, layers)
}

/// Puts archives on a directory.
pub(crate) fn layered_on(base: Option<&Path>, layers: &[Vec<Member>]) -> Result<Source, LayerError> {
    let spool = std::env::temp_dir();
    let mut stack = Layers::new(exclude_set::<&str>([]).expect("a set"), OwnerPolicy::AsIs);
    if let Some(base) = base {
        let options = ScanOptions { threads: 1, ..ScanOptions::default() };
        let (tree, _) = scan(base, &options, &NoProgress).expect("a readable directory");
        stack.add_directory(tree, base)?;
    }
    for members in layers {
        let options = TarOptions { spool_dir: spool.clone(), read_xattrs: true, ids: Arc::new(NumericIds) };
        let input = TarInput::Stream(Box::new(Cursor::new(archive(members))));
        let mut archive = Archive::open(input, options).expect("an archive");
        stack.add_archive(&mut archive, &NoProgress)?;
        stack.end_archive(archive.finish().expect("its end"), Path::new("layer"));
    }
    stack.finish()
}

/// Every path with what it stands for, and which paths share an inode, in words.
pub(crate) type Seen = BTreeMap<String, String>;

/// What layers made.
pub(crate) fn seen(source: &Source) -> Seen {
    let tree = source.tree();
    let mut reader = Reader::new(source).expect("a reader");
    let path = |id| String::from_utf8(tree.path(id)).expect("UTF-8").trim_start_matches('/').to_owned();
    let text = |id| {
        let told = format!("{:o} of {} at {}", tree.mode(id), tree.uid(id), tree.mtime(id).seconds);
        match tree.kind(id) {
            // Of a directory that nothing describes the time is that of what was put into it.
            source::Kind::Dir if tree.mode(id) == 0o755 => "implied".to_owned(),
            source::Kind::Dir => format!("dir {told}"),
            // A host gives all of them one mode.
            source::Kind::Symlink => {
                let target = tree.symlink_target(id).escape_ascii().to_string();
                format!("symlink of {} at {}: {target:?}", tree.uid(id), tree.mtime(id).seconds)
            }
            source::Kind::File => {
                let mut content = vec![0; tree.size(id) as usize];
                reader.read_whole(tree.primary(id), &mut content).expect("readable");
                format!("file {told}: {}", String::from_utf8(content).expect("UTF-8"))
            }
            other => format!("{other:?}"),
        }
    };
    let texts: Vec<String> = tree.ids().map(text).collect();
    let mut seen: Seen = tree.ids().zip(texts).map(|(id, text)| (path(id), text)).collect();
    let mut groups: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for id in tree.ids() {
        groups.entry(tree.primary(id).0).or_default().push(path(id));
    }
    for names in groups.into_values().filter(|names| names.len() > 1) {
        tell_group(&mut seen, names);
    }
    seen
}

fn tell_group(seen: &mut Seen, mut names: Vec<String>) {
    names.sort();
    let text = format!(" = {}", names.join(" = "));
    for name in names {
        seen.get_mut(&name).expect("its path").push_str(&text);
    }
}

/// What the model says.
pub(crate) fn expected(model: &Model) -> Seen {
    let told = |stamp: u32| format!("{:o} of {stamp} at {stamp}", mode_of(stamp));
    let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut seen = Seen::new();
    for (path, inode) in &model.paths {
        groups.entry(*inode).or_default().push(path.clone());
        let text = match &model.inodes[*inode] {
            Node::Waiting(target) => format!("a link to {target}"),
            Node::Dir(None) => "implied".to_owned(),
            Node::Dir(Some(stamp)) => format!("dir {}", told(*stamp)),
            Node::Symlink(stamp, target) => format!("symlink of {stamp} at {stamp}: {target:?}"),
            Node::File(stamp, content) => {
                format!("file {}: {}", told(*stamp), String::from_utf8(content.clone()).expect("UTF-8"))
            }
        };
        seen.insert(path.clone(), text);
    }
    for names in groups.into_values().filter(|names| names.len() > 1) {
        tell_group(&mut seen, names);
    }
    seen
}

/// The lines in which two trees differ.
pub(crate) fn difference(expected: &Seen, found: &Seen) -> Vec<String> {
    let all = expected.keys().chain(found.keys().filter(|p| !expected.contains_key(*p)));
    all.filter(|p| expected.get(*p) != found.get(*p))
        .map(|p| format!("/{p}: {:?}, expected {:?}", found.get(p), expected.get(p)))
        .collect()
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Makes a random layer over what there is.
///
/// Where a whiteout stands in its layer must not matter. Left out is what cannot be told by members that come one after the other:
/// members and whiteouts that lead through what the same layer hides or replaces.
struct Maker<'m> {
    numbers: &'m mut Numbers,
    stamp: &'m mut u32,
    whiteouts: Vec<Member>,
    members: Vec<Member>,
    /// The layers below, without what the whiteouts hide, with the members.
    first: Model,
    /// The layers below, with the members, and what the whiteouts hide.
    last: Model,
}

impl<'m> Maker<'m> {
    fn layer(numbers: &'m mut Numbers, stamp: &'m mut u32, below: &Model, lowest: bool) -> Vec<Member> {
        let mut maker = Self {
            numbers,
            stamp,
            whiteouts: Vec::new(),
            members: Vec::new(),
            first: below.clone(),
            last: below.clone(),
        };
        if !lowest {
            for _ in 0..maker.numbers.below(4) {
                maker.whiteout(below);
            }
            maker.whiteouts.iter().for_each(|w| maker.first.hide(w));
            maker.whiteouts.iter().for_each(|w| maker.first.mark(w).expect("a directory"));
        }
        for _ in 0..2 + maker.numbers.below(10) {
            maker.member();
        }
        maker.some_links_come_early(below);
        maker.mixed()
    }

    fn next_stamp(&mut self) -> u32 {
        *self.stamp += 1;
        *self.stamp
    }

    /// A path of one to three names, or one that is there.
    fn path(&mut self, known: &Model) -> String {
        let known: Vec<&String> = known.paths.keys().filter(|p| !p.is_empty()).collect();
        match self.numbers.pick(&known) {
            Some(path) if self.numbers.below(2) == 0 => (*path).clone(),
            _ => {
                let depth = 1 + self.numbers.below(3);
                let names: Vec<&str> = (0..depth).filter_map(|_| self.numbers.pick(&NAMES).copied()).collect();
                names.join("/")
            }
        }
    }

    fn whiteout(&mut self, below: &Model) {
        let dirs: Vec<&String> = below.paths.keys().filter(|p| below.is_dir(p)).collect();
        let dir = self.numbers.pick(&dirs).map_or("", |d| d.as_str());
        let name = match self.numbers.below(3) {
            0 => ".wh..wh..opq".to_owned(),
            _ => format!(".wh.{}", self.numbers.pick(&NAMES).expect("a name")),
        };
        let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
        let stamp = self.next_stamp();
        let whiteout = Member::new(&path, Kind::File(Vec::new()), stamp);
        self.whiteouts.push(whiteout);
    }

    fn member(&mut self) {
        let known = if self.numbers.below(4) == 0 { self.last.clone() } else { self.first.clone() };
        let path = self.path(&known);
        let stamp = self.next_stamp();
        let leaves: Vec<String> = known.paths.keys().filter(|p| !known.is_dir(p) && **p != path).cloned().collect();
        let kind = match self.numbers.below(10) {
            0..=2 => Kind::Dir,
            3..=5 => Kind::File(format!("content {stamp}").into_bytes()),
            6 | 7 => Kind::Symlink(self.target(&known)),
            _ => match self.numbers.pick(&leaves) {
                Some(target) => Kind::Link(target.clone()),
                None => return,
            },
        };
        let member = Member { path, kind, stamp };
        let (mut first, mut last) = (self.first.clone(), self.last.clone());
        let place = first.put(&member);
        if place.is_none() || place != last.put(&member) {
            return;
        }
        let place = place.unwrap_or_default();
        let is_same = first.node(&place) == last.node(&place);
        let on_the_way = |w: &Member| {
            let dir = w.path.rsplit_once('/').map_or("", |(dir, _)| dir);
            dir == place || dir.starts_with(&format!("{place}/"))
        };
        if is_same && (member.kind == Kind::Dir || !self.whiteouts.iter().any(on_the_way)) {
            (self.first, self.last) = (first, last);
            self.members.push(member);
        }
    }

    /// Where a link leads: to a directory, or nowhere.
    fn target(&mut self, known: &Model) -> String {
        let dirs: Vec<&String> = known.paths.keys().filter(|p| known.is_dir(p)).collect();
        let dir = self.numbers.pick(&dirs).map_or("", |d| d.as_str());
        match self.numbers.below(4) {
            0 => format!("/{dir}"),
            1 => format!("../../../../{dir}"),
            2 => "d/d".to_owned(),
            _ => format!("./../{dir}/."),
        }
    }

    /// Puts links to what this layer brings before what they lead to.
    fn some_links_come_early(&mut self, below: &Model) {
        for at in 1..self.members.len() {
            let link = self.members[at].clone();
            let Kind::Link(target) = &link.kind else { continue };
            let (Some(comes), None) = (self.members[..at].iter().position(|m| m.path == *target), below.place(target))
            else {
                continue;
            };
            let mut moved = self.members.clone();
            moved.remove(at);
            moved.insert(comes, link.clone());
            let mut hidden = below.clone();
            self.whiteouts.iter().for_each(|w| hidden.hide(w));
            self.whiteouts.iter().for_each(|w| hidden.mark(w).expect("a directory"));
            if same_places(hidden, below.clone(), &moved) {
                self.members = moved;
            }
        }
    }

    /// Whiteouts before, behind and among the members.
    fn mixed(mut self) -> Vec<Member> {
        let mut all = std::mem::take(&mut self.members);
        let how = self.numbers.below(3);
        for whiteout in std::mem::take(&mut self.whiteouts) {
            let at = match how {
                0 => 0,
                1 => all.len(),
                _ => self.numbers.below(all.len() as u64 + 1) as usize,
            };
            all.insert(at, whiteout);
        }
        all
    }
}

/// Whether members come to lie at the same places in both models, and all links find their targets.
fn same_places(mut first: Model, mut last: Model, members: &[Member]) -> bool {
    let same = members.iter().all(|m| {
        let place = first.put(m);
        place.is_some() && place == last.put(m)
    });
    same && first.find_targets().is_some() && last.find_targets().is_some()
}

fn described(layers: &[Vec<Member>]) -> String {
    let mut text = String::new();
    for (nr, layer) in layers.iter().enumerate() {
        text.push_str(&format!("  layer {nr}\n"));
        for m in layer {
            text.push_str(&format!("    {} {:?}\n", m.path, m.kind));
        }
    }
    text
}

/// Two to four layers, and what the model makes of the lowest and of all.
fn stack(seed: u64) -> (Vec<Vec<Member>>, Model, Model) {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (mut model, mut stamp, mut layers) = (Model::new(), 0, Vec::new());
    let mut lowest = Model::new();
    for nr in 0..2 + numbers.below(3) {
        let layer = Maker::layer(&mut numbers, &mut stamp, &model, nr == 0);
        model.apply(&layer).expect("a layer that can be put on top");
        layers.push(layer);
        if nr == 0 {
            lowest = model.clone();
        }
    }
    (layers, lowest, model)
}

/// Tries many stacks; `make` puts one together.
fn hold(stacks: u64, make: impl Fn(&[Vec<Member>], &Model) -> Result<Seen, LayerError>) {
    let mut wrong = Vec::new();
    let mut hidden = 0;
    for seed in 1..=stacks {
        let (layers, lowest, model) = stack(seed);
        hidden += layers.iter().flatten().filter(|m| m.is_whiteout()).count();
        let failed = |error: LayerError| Seen::from([("error".to_owned(), error.to_string())]);
        let found = make(&layers, &lowest).unwrap_or_else(failed);
        let difference = difference(&expected(&model), &found);
        if !difference.is_empty() {
            wrong.push(format!("seed {seed}:\n{}  {}", described(&layers), difference.join("\n  ")));
        }
    }
    assert!(hidden as u64 > stacks, "{hidden} whiteouts");
    let count = wrong.len();
    wrong.sort_by_key(String::len);
    wrong.truncate(5);
    assert!(count == 0, "{count} of {stacks} stacks differ, the shortest:\n{}", wrong.join("\n"));
}

#[test]
fn random_stacks_are_what_the_model_says() {
    hold(3000, |layers, _| Ok(seen(&layered(layers)?)));
}

/// As root: files are given owners.
#[test]
fn a_directory_may_lie_beneath() {
    hold(300, |layers, lowest| {
        let base = tempfile::tempdir().expect("a temporary directory");
        on_disk(lowest, base.path());
        Ok(seen(&layered_on(Some(base.path()), layers.get(1..).unwrap_or_default())?))
    });
}

/// Makes a directory of what the model has.
fn on_disk(model: &Model, at: &Path) {
    let mut made: BTreeMap<usize, std::path::PathBuf> = BTreeMap::new();
    for (path, inode) in &model.paths {
        let here = at.join(path);
        match &model.inodes[*inode] {
            _ if path.is_empty() => {}
            Node::Dir(_) => fs::create_dir(&here).expect("mkdir"),
            _ if made.contains_key(inode) => fs::hard_link(&made[inode], &here).expect("link"),
            Node::File(_, content) => fs::write(&here, content).expect("write"),
            Node::Symlink(_, target) => symlink(target, &here).expect("symlink"),
            Node::Waiting(_) => unreachable!("all links have found their targets"),
        }
        made.insert(*inode, here);
    }
    // What lies in a directory changes its time, so it comes last.
    for path in model.paths.keys().rev() {
        let here = at.join(path);
        let (stamp, is_link) = match model.node(path).expect("there") {
            Node::Dir(None) => {
                fs::set_permissions(&here, Permissions::from_mode(0o755)).expect("chmod");
                continue;
            }
            Node::Dir(Some(stamp)) | Node::File(stamp, _) => (*stamp, false),
            Node::Symlink(stamp, _) => (*stamp, true),
            Node::Waiting(_) => unreachable!("all links have found their targets"),
        };
        lchown(&here, Some(stamp), Some(0)).expect("chown (as root)");
        if !is_link {
            fs::set_permissions(&here, Permissions::from_mode(mode_of(stamp))).expect("chmod");
        }
        let t = Timespec { tv_sec: stamp.into(), tv_nsec: 0 };
        let times = Timestamps { last_access: t, last_modification: t };
        rustix::fs::utimensat(CWD, &here, &times, AtFlags::SYMLINK_NOFOLLOW).expect("setting times");
    }
}
