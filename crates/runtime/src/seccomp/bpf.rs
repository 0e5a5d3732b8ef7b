//! The compiler from a [`Profile`] to classic BPF (seccomp(2), `struct seccomp_data`).

use std::collections::BTreeMap;

use super::{Action, Condition, Profile, Rule, Test};
use crate::sys::Instruction;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_GREATER: u16 = 0x25;
const IF_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

#[cfg(target_arch = "x86_64")]
const THIS_ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const THIS_ARCHITECTURE: u32 = 0xc000_00b7;
/// Numbers from here on are x86-64's x32 calls, which no profile means.
const X32: u32 = 0x4000_0000;
/// The kernel's own limit (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;

/// Compiles; the error says why the profile cannot be expressed.
pub(super) fn compile(profile: &Profile) -> Result<Vec<Instruction>, String> {
    let mut by_number: BTreeMap<u32, Vec<&Rule>> = BTreeMap::new();
    for rule in &profile.rules {
        by_number.entry(rule.number).or_default().push(rule);
    }
    let default = ret(profile.default);
    // A call of another architecture's table (32-bit programs) meets the default: its numbers mean other calls.
    let mut program = vec![op(LOAD, ARCHITECTURE), jump(IF_EQUAL, THIS_ARCHITECTURE, 1, 0), default, op(LOAD, NUMBER)];
    program.extend([jump(IF_GREATER_OR_EQUAL, X32, 0, 1), default]);
    for (number, rules) in by_number {
        let block = block(&rules, default)?;
        match u8::try_from(block.len()) {
            Ok(length) => program.push(jump(IF_EQUAL, number, 0, length)),
            Err(_) => {
                let length = u32::try_from(block.len()).map_err(|_| "too many rules for one call".to_owned())?;
                program.extend([jump(IF_EQUAL, number, 1, 0), op(JUMP, length)]);
            }
        }
        program.extend(block);
    }
    program.push(default);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(format!("it needs {} instructions; the kernel takes {MAX_INSTRUCTIONS}", program.len()));
    }
    Ok(program)
}

/// One call's rules, in order, ending in the default unless one always matches.
fn block(rules: &[&Rule], default: Instruction) -> Result<Vec<Instruction>, String> {
    let mut block = Vec::new();
    for rule in rules {
        let mut steps: Vec<Step> = rule.conditions.iter().flat_map(steps).collect();
        steps.push(Step::Plain(ret(rule.action)));
        let end = steps.len();
        for (at, step) in steps.iter().enumerate() {
            block.push(step.place(at, end).ok_or_else(|| "too many conditions in one rule".to_owned())?);
        }
        if rule.conditions.is_empty() {
            return Ok(block);
        }
    }
    block.push(default);
    Ok(block)
}

/// An instruction whose jumps are not yet counted.
enum Step {
    Plain(Instruction),
    If { code: u16, value: u32, yes: Goto, no: Goto },
}

#[derive(Clone, Copy)]
enum Goto {
    Next,
    /// Over so many of the following instructions: the condition holds.
    Over(u8),
    /// To the end of the rule: it does not match.
    Fail,
}

impl Step {
    fn place(&self, at: usize, end: usize) -> Option<Instruction> {
        let far = |goto: Goto| match goto {
            Goto::Next => Some(0),
            Goto::Over(count) => Some(count),
            Goto::Fail => u8::try_from(end - at - 1).ok(),
        };
        match self {
            Self::Plain(instruction) => Some(*instruction),
            Self::If { code, value, yes, no } => Some(jump(*code, *value, far(*yes)?, far(*no)?)),
        }
    }
}

/// A 64-bit comparison by 32-bit halves, the high one first.
fn steps(condition: &Condition) -> Vec<Step> {
    use Goto::{Fail, Next, Over};
    let low_at = ARGUMENTS + 8 * u32::from(condition.argument);
    let high_at = low_at + 4;
    let load = |at| Step::Plain(op(LOAD, at));
    let test = |code, value, yes, no| Step::If { code, value, yes, no };
    match condition.test {
        Test::Equal(v) => vec![load(high_at), test(IF_EQUAL, high(v), Next, Fail), load(low_at), test(IF_EQUAL, low(v), Next, Fail)],
        Test::NotEqual(v) => vec![load(high_at), test(IF_EQUAL, high(v), Next, Over(2)), load(low_at), test(IF_EQUAL, low(v), Fail, Next)],
        Test::Masked { mask, value } => vec![
            load(high_at),
            Step::Plain(op(AND, high(mask))),
            test(IF_EQUAL, high(value), Next, Fail),
            load(low_at),
            Step::Plain(op(AND, low(mask))),
            test(IF_EQUAL, low(value), Next, Fail),
        ],
        Test::Greater(v) => above(v, low_at, IF_GREATER),
        Test::GreaterOrEqual(v) => above(v, low_at, IF_GREATER_OR_EQUAL),
        Test::Less(v) => below(v, low_at, IF_GREATER_OR_EQUAL),
        Test::LessOrEqual(v) => below(v, low_at, IF_GREATER),
    }
}

fn above(v: u64, low_at: u32, compare_low: u16) -> Vec<Step> {
    vec![
        Step::Plain(op(LOAD, low_at + 4)),
        Step::If { code: IF_GREATER, value: high(v), yes: Goto::Over(3), no: Goto::Next },
        Step::If { code: IF_EQUAL, value: high(v), yes: Goto::Next, no: Goto::Fail },
        Step::Plain(op(LOAD, low_at)),
        Step::If { code: compare_low, value: low(v), yes: Goto::Next, no: Goto::Fail },
    ]
}

fn below(v: u64, low_at: u32, not_low: u16) -> Vec<Step> {
    vec![
        Step::Plain(op(LOAD, low_at + 4)),
        Step::If { code: IF_GREATER, value: high(v), yes: Goto::Fail, no: Goto::Next },
        Step::If { code: IF_EQUAL, value: high(v), yes: Goto::Next, no: Goto::Over(2) },
        Step::Plain(op(LOAD, low_at)),
        Step::If { code: not_low, value: low(v), yes: Goto::Fail, no: Goto::Next },
    ]
}

fn high(v: u64) -> u32 {
    u32::try_from(v >> 32).unwrap_or(0)
}

fn low(v: u64) -> u32 {
    u32::try_from(v & 0xffff_ffff).unwrap_or(0)
}

fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn ret(action: Action) -> Instruction {
    op(
        RETURN,
        match action {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Trace(data) => 0x7ff0_0000 | u32::from(data),
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        },
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The kernel's interpreter, as far as these programs need it.
    fn run(program: &[Instruction], number: u32, args: [u64; 6]) -> u32 {
        let (mut at, mut a) = (0usize, 0u32);
        loop {
            let i = program[at];
            at += 1;
            match i.code {
                LOAD if i.k == NUMBER => a = number,
                LOAD if i.k == ARCHITECTURE => a = THIS_ARCHITECTURE,
                LOAD => {
                    let index = (i.k - ARGUMENTS) as usize;
                    a = if index.is_multiple_of(8) { low(args[index / 8]) } else { high(args[index / 8]) };
                }
                AND => a &= i.k,
                JUMP => at += i.k as usize,
                RETURN => return i.k,
                code => {
                    let yes = match code {
                        IF_EQUAL => a == i.k,
                        IF_GREATER => a > i.k,
                        _ => a >= i.k,
                    };
                    at += usize::from(if yes { i.jt } else { i.jf });
                }
            }
        }
    }

    fn holds(test: Test, arg: u64) -> bool {
        match test {
            Test::Equal(v) => arg == v,
            Test::NotEqual(v) => arg != v,
            Test::Less(v) => arg < v,
            Test::LessOrEqual(v) => arg <= v,
            Test::Greater(v) => arg > v,
            Test::GreaterOrEqual(v) => arg >= v,
            Test::Masked { mask, value } => arg & mask == value,
        }
    }

    /// Few values, so that equal halves are frequent.
    fn value() -> impl Strategy<Value = u64> {
        let half = prop::sample::select(vec![0u64, 1, 2, 0x7fff_ffff, 0xffff_ffff]);
        (half.clone(), half).prop_map(|(h, l)| h << 32 | l)
    }

    fn test() -> impl Strategy<Value = Test> {
        (0..7u8, value(), value()).prop_map(|(kind, v, mask)| match kind {
            0 => Test::Equal(v),
            1 => Test::NotEqual(v),
            2 => Test::Less(v),
            3 => Test::LessOrEqual(v),
            4 => Test::Greater(v),
            5 => Test::GreaterOrEqual(v),
            _ => Test::Masked { mask, value: v & mask },
        })
    }

    proptest! {
        #[test]
        fn compiled_rules_decide_as_the_rules_say(
            rules in prop::collection::vec((0..4u32, prop::collection::vec((0..6u8, test()), 0..4), 1..5u16), 0..40),
            number in 0..5u32,
            args in prop::array::uniform6(value()),
        ) {
            let rules: Vec<Rule> = rules.into_iter().map(|(number, conditions, errno)| Rule {
                number,
                conditions: conditions.into_iter().map(|(argument, test)| Condition { argument, test }).collect(),
                action: Action::Errno(errno),
            }).collect();
            let matching = rules.iter().find(|r| r.number == number && r.conditions.iter().all(|c| holds(c.test, args[usize::from(c.argument)])));
            let expected = ret(matching.map_or(Action::Allow, |r| r.action)).k;
            let program = compile(&Profile { default: Action::Allow, rules }).unwrap();
            prop_assert_eq!(run(&program, number, args), expected);
            prop_assert_eq!(super::super::from_bytes(&super::super::to_bytes(&program)), Some(program));
        }
    }
}
