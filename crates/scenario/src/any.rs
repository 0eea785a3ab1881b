//! Random trees for tests.

use crate::ast::*;
use crate::data::{Data, Fill, Piece, split_mix};
use crate::errno::{Errno, Signal};
use crate::ops::Operation;
use crate::ops::args::Path;
use crate::place::{Name, Place};
use crate::word::{Set, Word};

/// A source of random choices.
pub(crate) struct Gen(pub(crate) u64);

impl Gen {
    pub(crate) fn next(&mut self) -> u64 {
        split_mix(&mut self.0)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    pub(crate) fn size(&mut self) -> u64 {
        let shift = self.below(64);
        match self.below(3) {
            0 => self.below(10),
            1 => self.next() >> shift,
            _ => self.below(1000) << 12,
        }
    }

    pub(crate) fn name(&mut self) -> Name {
        Name::new(["a", "b", "f", "m", "on_it", "A9", "has_", "_x"][self.below(8) as usize])
    }

    pub(crate) fn text(&mut self) -> String {
        ["", "a b", "x.txt", "user.a", "\"q\"", "é ü", "a->b", "end:", "#", "/a", "= 5"][self.below(11) as usize]
            .to_owned()
    }

    pub(crate) fn path(&mut self) -> Path {
        let path = ["/", "/d/f", "/a b", "/x:", "/-", "/q\"", "/é"][self.below(7) as usize].to_owned();
        Path { fs: self.coin().then(|| self.name()), path }
    }

    pub(crate) fn data(&mut self) -> Data {
        let pieces = (0..self.below(4)).map(|_| Piece {
            what: match self.below(3) {
                0 => Fill::Byte(self.next() as u8),
                1 => Fill::Random(self.next()),
                _ => Fill::Text((0..=self.below(5)).map(|_| self.next() as u8).collect()),
            },
            times: 1 + self.below(5000),
        });
        Data { pieces: pieces.collect() }
    }

    pub(crate) fn mount_options(&mut self) -> MountOptions {
        let all = ["dax", "dax=inode", "ro", "nodelalloc", "data=journal"];
        MountOptions((0..self.below(3)).map(|_| all[self.below(5) as usize].to_owned()).collect())
    }

    pub(crate) fn word<W: Word>(&mut self) -> W {
        W::ALL[self.below(W::ALL.len() as u64) as usize]
    }

    pub(crate) fn set<W: Word>(&mut self) -> Set<W> {
        (0..self.below(4)).map(|_| self.word()).collect()
    }

    fn option<T>(&mut self, one: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.coin().then(|| one(self))
    }

    fn many<T>(&mut self, least: u64, most: u64, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..least + self.below(most)).map(|_| one(self)).collect()
    }

    fn release(&mut self) -> Release {
        Release(self.below(7) as u16, self.below(20) as u16)
    }

    fn condition(&mut self) -> Condition {
        let mut condition = Condition { fs: self.option(Self::name), ..Condition::default() };
        condition.rules = self.option(Self::word);
        condition.from = self.option(Self::release);
        condition.to = self.option(Self::release);
        condition.option = Some(["dax", "dax=inode", "defaults"][self.below(3) as usize].to_owned());
        condition
    }

    fn pattern(&mut self, depth: u64) -> Pattern {
        match self.below(if depth > 3 { 4 } else { 6 }) {
            0 => Pattern::Anything,
            1 => Pattern::Number(self.size()),
            2 => Pattern::Word(["x", "dax=always", "a.b", "-"][self.below(4) as usize].to_owned()),
            3 => Pattern::Data(self.data()),
            4 => Pattern::List(self.many(0, 4, |g| g.pattern(depth + 1))),
            _ => Pattern::Record(self.record(depth)),
        }
    }

    fn record(&mut self, depth: u64) -> RecordPattern {
        let tag = self.option(|_| "pmd".to_owned());
        RecordPattern { tag, fields: self.many(0, 3, |g| (g.name(), g.word(), g.pattern(depth + 1))) }
    }

    fn expectation(&mut self) -> Expectation {
        match self.below(6) {
            0 => Expectation::Anything,
            1 => Expectation::Blocks,
            2 => Expectation::Fails(Failure::Errno(Errno::ALL[self.below(Errno::ALL.len() as u64) as usize])),
            3 => Expectation::Fails(Failure::Signal(self.word::<Signal>())),
            4 => Expectation::Fails(Failure::Oops),
            _ => Expectation::Value(self.word(), self.pattern(0)),
        }
    }

    fn formula(&mut self, depth: u64) -> Formula {
        match self.below(if depth > 3 { 4 } else { 7 }) {
            0 => Formula::Incident(self.word()),
            1 => Formula::Violated(format!("P{}", 1 + self.below(14))),
            2 => Formula::Register(self.name(), self.expectation()),
            3 => Formula::Event(RecordPattern { tag: Some("dax_pte_fault".to_owned()), ..self.record(2) }),
            4 => Formula::Not(Box::new(self.formula(depth + 1))),
            5 => Formula::And(self.many(2, 2, |g| g.formula(depth + 1))),
            _ => Formula::Or(self.many(2, 2, |g| g.formula(depth + 1))),
        }
    }

    fn step(&mut self) -> Step {
        Step {
            place: Place::default(),
            on: self.option(Self::condition),
            task: self.option(Self::name),
            print: self.coin(),
            operation: Operation::any(self),
            register: self.option(Self::name),
            expect: self.option(Self::expectation),
            expect_on: self.many(0, 3, |g| (g.condition(), g.expectation())),
        }
    }

    fn turn(&mut self) -> Turn {
        let extent = match self.below(3) {
            0 => TurnExtent::Operations(self.below(5)),
            1 => TurnExtent::Steps(self.below(100)),
            _ => TurnExtent::Point("pte_lock".to_owned()),
        };
        Turn { task: self.name(), extent }
    }

    fn body(&mut self, depth: u64) -> Vec<Statement> {
        self.many(0, 6, |g| match g.below(if depth > 2 { 5 } else { 8 }) {
            0..=3 => Statement::Step(g.step()),
            4 => Statement::Claim(Claim {
                place: Place::default(),
                on: g.option(Self::condition),
                how: g.word(),
                what: g.formula(0),
            }),
            5 => Statement::Setup(g.body(depth + 1)),
            6 => Statement::Repeat(g.size(), g.body(depth + 1)),
            _ => Statement::Concurrent(Concurrent {
                place: Place::default(),
                body: g.body(depth + 1),
                schedule: g.many(0, 4, Self::turn),
            }),
        })
    }

    fn fs(&mut self) -> FsDecl {
        FsDecl {
            name: self.name(),
            rules: self.many(1, 2, Self::word),
            profiles: self.many(0, 3, Self::release),
            source: match self.below(3) {
                0 => Source::Mem(self.size()),
                1 => Source::Image("an image.img".to_owned()),
                _ => Source::Given,
            },
            block: self.option(Self::size),
            features: self.many(0, 3, |g| Feature { off: g.coin(), name: "inline_data".to_owned() }),
            options: self.many(0, 3, Self::mount_options),
            device: self.option(Self::word),
            realtime: self.option(Self::word),
            unmounted: self.coin(),
        }
    }

    fn task(&mut self) -> TaskDecl {
        TaskDecl {
            name: self.name(),
            uid: self.option(|g| g.next() as u32),
            gid: self.option(|g| g.next() as u32),
            caps: self.option(Self::set),
            thread_of: self.option(Self::name),
            userns: self.coin(),
        }
    }

    fn declarations(&mut self) -> Declarations {
        Declarations { needs: self.set(), filesystems: self.many(0, 3, Self::fs), tasks: self.many(0, 3, Self::task) }
    }

    pub(crate) fn file(&mut self) -> File {
        File {
            shared: self.declarations(),
            scenarios: self.many(1, 3, |g| Scenario {
                title: g.text(),
                place: Place::default(),
                declarations: g.declarations(),
                body: g.body(0),
            }),
        }
    }
}

mod tests {
    use super::Gen;
    use crate::{check, parse, print};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_printed_reads_back(seed: u64) {
            let file = Gen(seed).file();
            let text = print(&file);
            match parse(&text) {
                Ok(read) => prop_assert_eq!(read, file, "{}", text),
                Err(errors) => prop_assert!(false, "{}\n{}", errors, text),
            }
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            if let Ok(file) = crate::parse::parse_bytes(&bytes) {
                let _ = check(&file, "");
            }
        }

        /// Printed scenarios with pieces cut, doubled and swapped get deeper than noise.
        #[test]
        fn no_broken_text_makes_it_panic(seed: u64, cuts in prop::collection::vec((any::<u16>(), any::<u16>(), any::<u8>()), 0..20)) {
            let mut bytes = print(&Gen(seed).file()).into_bytes();
            for (from, to, what) in cuts {
                if bytes.is_empty() {
                    break;
                }
                let (from, to) = (usize::from(from) % bytes.len(), usize::from(to) % bytes.len());
                match what % 3 {
                    0 => bytes[from] = what,
                    1 => bytes.swap(from, to),
                    _ => drop(bytes.drain(from.min(to)..from.max(to))),
                }
            }
            match crate::parse::parse_bytes(&bytes) {
                Ok(file) => drop(check(&file, "")),
                Err(errors) => prop_assert!(!errors.to_string().is_empty()),
            }
        }
    }
}
