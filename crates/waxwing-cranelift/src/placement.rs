//! Where functions are placed in respect to lines of the instruction cache. A small loop that begins near the end of a line
//! takes a line more than it needs, in the cache and in what the processor decodes at once.

use cranelift_codegen::CompiledCode;
use cranelift_codegen::binemit::CodeOffset;

/// The bytes of a line.
pub(crate) const LINE: u32 = 64;
/// Functions begin at multiples of this.
const STEP: u32 = 16;
/// Longer loops take many lines anyway.
const LONGEST: u32 = 4 * LINE;

/// How far behind the beginning of a line the function begins best, if that makes a difference.
pub(crate) fn displacement(code: &CompiledCode) -> Option<u32> {
    if code.buffer.alignment > STEP {
        return None;
    }
    let loops = loops(&code.bb_starts, &code.bb_edges, code.buffer.total_size());
    let costs = (0..LINE / STEP).map(|step| {
        let costs = loops.iter().map(|(start, end, weight)| {
            let first = (start + step * STEP) / LINE;
            let last = (end - 1 + step * STEP) / LINE;
            let needed = (end - start).div_ceil(LINE);
            u64::from(last - first + 1 - needed) * weight
        });
        (costs.sum::<u64>(), step * STEP)
    });
    let (least, best) = costs.clone().min()?;
    let (most, _) = costs.max()?;
    (least != most).then_some(best)
}

/// The loops in which there are no others: where they begin and end, and what a line more costs.
fn loops(
    starts: &[CodeOffset],
    edges: &[(CodeOffset, CodeOffset)],
    len: CodeOffset,
) -> Vec<(u32, u32, u64)> {
    let mut loops: Vec<(u32, u32)> = edges
        .iter()
        .filter(|(from, to)| to <= from)
        .map(|(from, to)| {
            let next = starts.partition_point(|start| start <= from);
            (*to, starts.get(next).copied().unwrap_or(len))
        })
        .collect();
    loops.sort_unstable_by_key(|(start, end)| (*start, u32::MAX - end));
    loops.dedup_by_key(|(start, _)| *start);
    let mut around: Vec<u32> = Vec::new();
    let mut innermost = Vec::new();
    for (place, (start, end)) in loops.iter().enumerate() {
        while around.last().is_some_and(|outer| outer <= start) {
            around.pop();
        }
        let has_inner = loops.get(place + 1).is_some_and(|(inner, _)| inner < end);
        if !has_inner && end - start <= LONGEST && start < end {
            let depth = around.len().min(4);
            let weight = (1 << (2 * depth)) * u64::from(LONGEST / (end - start).max(STEP));
            innermost.push((*start, *end, weight));
        }
        around.push(*end);
    }
    innermost
}

#[cfg(test)]
mod tests {
    use super::loops;

    #[test]
    fn loops_without_others_in_them_are_found() {
        // An outer loop from 16 to 48 and one in it, from 24 to 32, of one block each way.
        let starts = [0, 16, 24, 32, 48];
        let edges = [(0, 16), (16, 24), (24, 24), (24, 32), (32, 16), (32, 48)];
        assert_eq!(loops(&starts, &edges, 64), [(24, 32, 64)]);
    }

    #[test]
    fn loops_that_follow_each_other_are_found_both() {
        let starts = [0, 16, 80];
        let edges = [(0, 0), (0, 16), (16, 16), (16, 80)];
        assert_eq!(loops(&starts, &edges, 96), [(0, 16, 16), (16, 80, 4)]);
    }

    #[test]
    fn long_loops_are_left_out() {
        assert_eq!(loops(&[0, 512], &[(0, 0), (0, 512)], 600), []);
    }
}
