//! Which way branches are likely to go: the custom section `metadata.code.branch_hint`.

use crate::{DefinedFuncIndex, FuncIndex, Module};
use wasmparser::BranchHintSectionReader;

/// What a module says of one branch.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct BranchHint {
    /// Where the `if` or `br_if` is, in bytes from the start of its function's body, which begins
    /// with the locals.
    pub offset: u32,
    /// Whether its condition is likely to be true; otherwise it is likely to be false.
    pub likely: bool,
}

/// What a module says of its branches.
#[derive(Clone, Default, Debug)]
pub struct BranchHints {
    /// Functions, sorted, and where their hints end; they begin where those of the function before end.
    functions: Vec<(DefinedFuncIndex, usize)>,
    hints: Vec<BranchHint>,
    /// Whether there was a section, be it malformed.
    seen: bool,
}

impl BranchHints {
    /// The hints for a function, sorted by offset. Offsets may be such of no branch.
    pub fn of(&self, func: DefinedFuncIndex) -> &[BranchHint] {
        let Ok(at) = self
            .functions
            .binary_search_by_key(&func, |(func, _)| *func)
        else {
            return &[];
        };
        let start = at
            .checked_sub(1)
            .map_or(0, |before| self.functions[before].1);
        &self.hints[start..self.functions[at].1]
    }

    /// Reads a section. A malformed one gives no hints at all, and of several only the first counts.
    pub(super) fn read(&mut self, section: BranchHintSectionReader<'_>, module: &Module) {
        if std::mem::replace(&mut self.seen, true) {
            return;
        }
        if self.read_all(section, module).is_none() {
            self.functions.clear();
            self.hints.clear();
        }
    }

    fn read_all(&mut self, section: BranchHintSectionReader<'_>, module: &Module) -> Option<()> {
        for function in section {
            let function = function.ok()?;
            let index = FuncIndex::from_u32(function.func);
            if function.func as usize >= module.num_functions {
                return None;
            }
            let index = module.defined_func_index(index)?;
            let is_sorted = self.functions.last().is_none_or(|(last, _)| *last < index);
            if !is_sorted {
                return None;
            }
            let start = self.hints.len();
            for hint in function.hints {
                let hint = hint.ok()?;
                let before = self.hints[start..].last();
                if before.is_some_and(|before| before.offset >= hint.func_offset) {
                    return None;
                }
                self.hints.push(BranchHint {
                    offset: hint.func_offset,
                    likely: hint.taken,
                });
            }
            self.functions.push((index, self.hints.len()));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EntityRef;
    use wasmparser::BinaryReader;

    fn read(sections: &[&[u8]]) -> BranchHints {
        let module = Module {
            num_functions: 4,
            num_imported_functions: 1,
            ..Module::default()
        };
        let mut hints = BranchHints::default();
        for section in sections {
            let reader = BranchHintSectionReader::new(BinaryReader::new(section, 0));
            hints.read(reader.unwrap(), &module);
        }
        hints
    }

    fn of(hints: &BranchHints, func: usize) -> Vec<(u32, bool)> {
        let hints = hints.of(DefinedFuncIndex::new(func)).iter();
        hints.map(|hint| (hint.offset, hint.likely)).collect()
    }

    /// Function 1: unlikely at 5, likely at 9. Function 3: likely at 200.
    const SECTION: &[u8] = &[2, 1, 2, 5, 1, 0, 9, 1, 1, 3, 1, 0xc8, 0x01, 1, 1];

    #[test]
    fn hints_are_found_by_function() {
        let hints = read(&[SECTION]);
        assert_eq!(of(&hints, 0), [(5, false), (9, true)]);
        assert_eq!(of(&hints, 1), []);
        assert_eq!(of(&hints, 2), [(200, true)]);
        assert_eq!(of(&hints, 3), []);
        // A second section does not count.
        assert_eq!(of(&read(&[SECTION, &[0]]), 2), [(200, true)]);
        assert_eq!(of(&read(&[&[0], SECTION]), 2), []);
    }

    #[test]
    fn malformed_sections_give_no_hints() {
        let malformed: [&[u8]; 7] = [
            // An imported function, and one that is not there.
            &[2, 1, 1, 5, 1, 0, 0, 0],
            &[2, 1, 1, 5, 1, 0, 4, 0],
            // Functions and offsets that are not in order.
            &[2, 2, 1, 5, 1, 0, 1, 0],
            &[1, 1, 2, 5, 1, 0, 5, 1, 1],
            // A hint of another length, another value, and an end within a hint.
            &[1, 1, 1, 5, 2, 0, 0],
            &[1, 1, 1, 5, 1, 2],
            &[2, 1, 1, 5, 1, 0],
        ];
        for section in malformed {
            let hints = read(&[section]);
            assert!(
                (0..4).all(|func| of(&hints, func).is_empty()),
                "{section:?}"
            );
        }
        let hints = read(&[&[1, 2, 1, 5, 1, 1]]);
        assert_eq!(of(&hints, 1), [(5, true)]);
    }
}
