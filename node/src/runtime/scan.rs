//! The scan against compile bombs: small modules that cost a compiler minutes, or gigabytes.
//!
//! Each number is far above the largest found in real programs (CPython, SpiderMonkey, Go: 13,485 functions, 430 KB in
//! one, 271 locals, 6 loops and 781 blocks inside each other, 15,805 targets), and low enough that the compiler needs
//! seconds at it. What slips through meets the limits of the compile child.

use coracle_proto::status::{Code, Refusal};
use wasmparser::{FunctionBody, Operator, Payload};

/// Functions of all modules together: 100,000 empty ones cost 12 s.
const FUNCTIONS_MAX: u64 = 100_000;
/// Bytes of one function's body.
const BODY_BYTES_MAX: u64 = 4 << 20;
/// Locals of one function: with thousands of blocks, 50,000 cost gigabytes.
const LOCALS_MAX: u64 = 5000;
/// Loops inside each other: 100 cost 0.2 s, 200 cost 3 s, 400 cost 25 s.
const LOOPS_MAX: usize = 64;
/// Blocks of any sort inside each other: a `switch` of C has one for each case.
const BLOCKS_MAX: usize = 5000;
/// Targets of all branch tables of one function: a thousand tables of a thousand cost 17 s.
const TARGETS_MAX: u64 = 200_000;
/// Modules and components inside a component.
const PARTS_MAX: u64 = 1000;

/// Counts while an artifact is read.
#[derive(Debug, Default)]
pub(super) struct Scan {
    functions: u64,
    parts: u64,
    /// For each open block of the function at hand, whether it is a loop. Kept for its memory.
    open: Vec<bool>,
}

impl Scan {
    /// Looks at the next part of the artifact.
    pub(super) fn payload(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::Version { .. } => {
                self.parts += 1;
                bound("modules in one component", self.parts, PARTS_MAX)
            }
            Payload::FunctionSection(section) => {
                self.functions += u64::from(section.count());
                bound("functions", self.functions, FUNCTIONS_MAX)
            }
            Payload::CodeSectionEntry(body) => self.body(body),
            _ => Ok(()),
        }
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<(), Refusal> {
        bound("bytes in one function", body.range().len() as u64, BODY_BYTES_MAX)?;
        let mut locals = 0;
        for group in body.get_locals_reader().map_err(broken)? {
            locals += u64::from(group.map_err(broken)?.0);
            bound("locals in one function", locals, LOCALS_MAX)?;
        }
        let (mut loops, mut targets) = (0, 0);
        self.open.clear();
        for operator in body.get_operators_reader().map_err(broken)? {
            match operator.map_err(broken)? {
                Operator::Loop { .. } => {
                    loops += 1;
                    self.open.push(true);
                }
                Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                    self.open.push(false)
                }
                Operator::End => loops -= usize::from(self.open.pop().unwrap_or(false)),
                Operator::BrTable { targets: table } => targets += u64::from(table.len()),
                _ => {}
            }
            if loops > LOOPS_MAX || self.open.len() > BLOCKS_MAX || targets > TARGETS_MAX {
                bound("loops inside each other", loops as u64, LOOPS_MAX as u64)?;
                bound("blocks inside each other", self.open.len() as u64, BLOCKS_MAX as u64)?;
                bound("branch targets in one function", targets, TARGETS_MAX)?;
            }
        }
        Ok(())
    }
}

fn bound(what: &str, count: u64, max: u64) -> Result<(), Refusal> {
    if count > max {
        return Err(Refusal::new(Code::ModuleTooComplex, format!("{count} {what}, at most {max}")));
    }
    Ok(())
}

fn broken(error: wasmparser::BinaryReaderError) -> Refusal {
    Refusal::new(Code::NotWasm, format!("not valid Wasm: {error}"))
}
