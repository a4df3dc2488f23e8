//! As much of Python's pickle format as a state dict needs, and not an opcode more.
//!
//! A pickle is a program for a machine with a stack. Python's own machine imports what it is told
//! to and calls it, which is why a pickle from a stranger must not be loaded there. This one knows
//! the names of a dictionary, a tensor and its storages, builds tuples, dictionaries and [`StoredTensor`]s, and calls nothing: every other
//! opcode and every other name is an error.
//!
//! Source: the comments of Python's `pickletools.py`; `torch/_utils.py` and
//! `torch/serialization.py` for what PyTorch writes, which is protocol 2.

use std::collections::HashMap;

use thiserror::Error;

/// Why a pickle gives no state dict.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("byte {offset} of its pickle: {fault}")]
pub struct PickleError {
    /// Where.
    pub offset: usize,
    /// What is there.
    pub fault: PickleFault,
}

/// What can be wrong with a pickle.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PickleFault {
    /// The end comes too early.
    #[error("it ends too early")]
    Cut,
    /// It begins with another protocol than 2.
    #[error("protocol {0}, where torch.save writes 2")]
    Protocol(u8),
    /// An opcode that no state dict needs.
    #[error("opcode {0:#04x}, which no state dict needs; nothing was executed")]
    Opcode(u8),
    /// A name that no state dict needs.
    #[error("the name {0}, which no state dict needs; nothing was executed")]
    Name(String),
    /// An opcode that does not fit what was built before it.
    #[error("{0}")]
    Unfit(&'static str),
    /// The dictionary holds something else than tensors.
    #[error("entry {0} is no tensor: save net.state_dict() and nothing else")]
    NoTensor(String),
}

/// Where a tensor lies in a storage, as `torch._utils._rebuild_tensor_v2` is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    /// The storage's class, as in `FloatStorage`.
    pub storage: &'static str,
    /// The storage's name.
    pub key: String,
    /// The place of its first element in the storage, counted in elements.
    pub offset: usize,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// How many elements of the storage a step along each dimension goes on.
    pub strides: Vec<usize>,
}

/// The storages' classes by element type.
const STORAGES: [&str; 11] = [
    "FloatStorage",
    "DoubleStorage",
    "HalfStorage",
    "BFloat16Storage",
    "LongStorage",
    "IntStorage",
    "ShortStorage",
    "CharStorage",
    "ByteStorage",
    "BoolStorage",
    "ComplexFloatStorage",
];

/// The functions and classes that are known. None of them is called: what they would give is
/// built here.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    OrderedDict,
    RebuildTensor,
    Storage(&'static str),
}

/// Anything on the stack. Values that hold others hold their places in [`Machine::values`], so
/// that what is named often is there once.
#[derive(Clone)]
enum Value {
    None,
    Bool,
    Int(usize),
    Text(String),
    Tuple(Vec<usize>),
    Dictionary(Vec<(usize, usize)>),
    Known(Known),
    Storage { class: &'static str, key: String },
    Tensor(StoredTensor),
}

/// The names and tensors of the state dict that `pickle` spells, in its order.
///
/// # Errors
/// With the byte and the [`PickleFault`]. Memory grows with the bytes of `pickle` alone.
pub fn state_dict(pickle: &[u8]) -> Result<Vec<(String, StoredTensor)>, PickleError> {
    let mut machine = Machine {
        pickle,
        next: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let mut offset = 0;
    let result = loop {
        match machine.step() {
            Ok(None) => offset = machine.next,
            Ok(Some(value)) => break machine.tensors(value),
            Err(fault) => break Err(fault),
        }
    };
    result.map_err(|fault| PickleError { offset, fault })
}

struct Machine<'a> {
    pickle: &'a [u8],
    /// The place of the next byte.
    next: usize,
    /// All values that were ever made.
    values: Vec<Value>,
    /// Places of values.
    stack: Vec<usize>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, usize>,
}

use PickleFault::{Cut, Unfit};

/// Too little on the stack, or something else.
const STACK: PickleFault = Unfit("the stack does not hold what this opcode needs");

impl Machine<'_> {
    /// Does one opcode. Gives the result's place at the last one.
    fn step(&mut self) -> Result<Option<usize>, PickleFault> {
        match self.byte()? {
            // PROTO
            0x80 => match self.byte()? {
                2 => {}
                other => return Err(PickleFault::Protocol(other)),
            },
            // GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let known = known(&module, &name)
                    .ok_or_else(|| PickleFault::Name(format!("{module}.{name}")))?;
                self.push(Value::Known(known));
            }
            b'N' => self.push(Value::None),
            // NEWTRUE, NEWFALSE
            0x88 | 0x89 => self.push(Value::Bool),
            // BININT, BININT1, BININT2, LONG1
            b'J' => self.integer(4, true)?,
            b'K' => self.integer(1, false)?,
            b'M' => self.integer(2, false)?,
            0x8a => {
                let length = usize::from(self.byte()?);
                self.integer(length, true)?;
            }
            // BINUNICODE
            b'X' => {
                let length = self.number(4)?;
                let bytes = self.bytes(length)?.to_vec();
                let text = String::from_utf8(bytes).map_err(|_| Unfit("a text is not UTF-8"))?;
                self.push(Value::Text(text));
            }
            b')' => self.push(Value::Tuple(Vec::new())),
            b'}' => self.push(Value::Dictionary(Vec::new())),
            b'(' => self.marks.push(self.stack.len()),
            b't' => {
                let items = self.above_mark()?;
                self.push(Value::Tuple(items));
            }
            // TUPLE1 to TUPLE3
            opcode @ 0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x85..=opcode {
                    items.insert(0, self.pop()?);
                }
                self.push(Value::Tuple(items));
            }
            // BINPUT, LONG_BINPUT
            b'q' => {
                let key = self.number(1)?;
                self.remember(key)?;
            }
            b'r' => {
                let key = self.number(4)?;
                self.remember(key)?;
            }
            // BINGET, LONG_BINGET
            b'h' => {
                let key = self.number(1)?;
                self.recall(key)?;
            }
            b'j' => {
                let key = self.number(4)?;
                self.recall(key)?;
            }
            // SETITEM, SETITEMS
            b's' => {
                let items = vec![self.pop()?, self.pop()?];
                self.set(items.into_iter().rev().collect())?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set(items)?;
            }
            // BINPERSID
            b'Q' => {
                let place = self.pop()?;
                let storage = self.storage(place)?;
                self.push(storage);
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let value = self.build(function, arguments)?;
                self.push(value);
            }
            // BUILD: attributes of a dictionary, on which no weight depends.
            b'b' => {
                self.pop()?;
                self.dictionary()?;
            }
            b'.' => return self.pop().map(Some),
            other => return Err(PickleFault::Opcode(other)),
        }
        Ok(None)
    }

    fn byte(&mut self) -> Result<u8, PickleFault> {
        Ok(self.bytes(1)?[0])
    }

    fn bytes(&mut self, count: usize) -> Result<&[u8], PickleFault> {
        let end = self.next.checked_add(count).ok_or(Cut)?;
        let bytes = self.pickle.get(self.next..end).ok_or(Cut)?;
        self.next = end;
        Ok(bytes)
    }

    /// A little-endian number.
    fn number(&mut self, bytes: usize) -> Result<usize, PickleFault> {
        let little_endian = self.bytes(bytes)?.iter().rev();
        Ok(little_endian.fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// Sizes, places and strides are not negative, and no storage has 2^56 elements.
    fn integer(&mut self, bytes: usize, signed: bool) -> Result<(), PickleFault> {
        const NUMBER: PickleFault = Unfit("a number is negative, or none that a tensor can have");
        if bytes > 7 {
            return Err(NUMBER);
        }
        let number = self.number(bytes)?;
        if signed && bytes > 0 && number >> (8 * bytes - 1) != 0 {
            return Err(NUMBER);
        }
        self.push(Value::Int(number));
        Ok(())
    }

    /// Text up to the end of the line.
    fn line(&mut self) -> Result<String, PickleFault> {
        let rest = &self.pickle[self.next..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or(Cut)?;
        self.next += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<usize, PickleFault> {
        // What lies below a mark belongs to somebody else.
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => self.stack.pop().ok_or(STACK),
            false => Err(STACK),
        }
    }

    fn above_mark(&mut self) -> Result<Vec<usize>, PickleFault> {
        let mark = self.marks.pop().ok_or(STACK)?;
        Ok(self.stack.split_off(mark))
    }

    fn remember(&mut self, key: usize) -> Result<(), PickleFault> {
        let &top = self.stack.last().ok_or(STACK)?;
        self.memo.insert(key as u32, top);
        Ok(())
    }

    fn recall(&mut self, key: usize) -> Result<(), PickleFault> {
        let &place = self.memo.get(&(key as u32)).ok_or(STACK)?;
        self.stack.push(place);
        Ok(())
    }

    /// The dictionary on the top of the stack.
    fn dictionary(&mut self) -> Result<&mut Vec<(usize, usize)>, PickleFault> {
        let &top = self.stack.last().ok_or(STACK)?;
        match &mut self.values[top] {
            Value::Dictionary(items) => Ok(items),
            _ => Err(STACK),
        }
    }

    /// Puts keys and values, which alternate, into the dictionary below them.
    fn set(&mut self, items: Vec<usize>) -> Result<(), PickleFault> {
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(STACK);
        };
        self.dictionary()?
            .extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn tuple(&self, place: usize) -> Result<&[usize], PickleFault> {
        match &self.values[place] {
            Value::Tuple(items) => Ok(items),
            _ => Err(STACK),
        }
    }

    fn text(&self, place: usize) -> Result<&str, PickleFault> {
        match &self.values[place] {
            Value::Text(text) => Ok(text),
            _ => Err(STACK),
        }
    }

    fn int(&self, place: usize) -> Result<usize, PickleFault> {
        match &self.values[place] {
            Value::Int(number) => Ok(*number),
            _ => Err(STACK),
        }
    }

    /// A storage from `("storage", class, key, device, elements)`.
    fn storage(&self, place: usize) -> Result<Value, PickleFault> {
        let &[what, class, key, _device, _elements] = self.tuple(place)? else {
            return Err(STACK);
        };
        match (self.text(what)?, &self.values[class]) {
            ("storage", Value::Known(Known::Storage(class))) => Ok(Value::Storage {
                class,
                key: self.text(key)?.to_owned(),
            }),
            _ => Err(STACK),
        }
    }

    /// What a call of a known function would give.
    fn build(&self, function: usize, arguments: usize) -> Result<Value, PickleFault> {
        let arguments = self.tuple(arguments)?;
        match (&self.values[function], arguments) {
            (Value::Known(Known::OrderedDict), []) => Ok(Value::Dictionary(Vec::new())),
            // Behind the first four: whether it wants a gradient, and hooks.
            (Value::Known(Known::RebuildTensor), &[storage, offset, shape, strides, _, _]) => {
                let ints = |place| -> Result<Vec<usize>, PickleFault> {
                    let places = self.tuple(place)?.iter();
                    places.map(|&place| self.int(place)).collect()
                };
                match &self.values[storage] {
                    Value::Storage { class, key } => Ok(Value::Tensor(StoredTensor {
                        storage: class,
                        key: key.clone(),
                        offset: self.int(offset)?,
                        shape: ints(shape)?,
                        strides: ints(strides)?,
                    })),
                    _ => Err(STACK),
                }
            }
            _ => Err(STACK),
        }
    }

    /// The names and tensors of the dictionary at `place`.
    fn tensors(&self, place: usize) -> Result<Vec<(String, StoredTensor)>, PickleFault> {
        let Value::Dictionary(items) = &self.values[place] else {
            return Err(Unfit(
                "what it holds is no dictionary: save net.state_dict()",
            ));
        };
        let entries = items.iter().map(|&(key, value)| {
            let name = self.text(key)?;
            match &self.values[value] {
                Value::Tensor(tensor) => Ok((name.to_owned(), tensor.clone())),
                _ => Err(PickleFault::NoTensor(name.to_owned())),
            }
        });
        entries.collect()
    }
}

fn known(module: &str, name: &str) -> Option<Known> {
    match (module, name) {
        ("collections", "OrderedDict") => Some(Known::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2") => Some(Known::RebuildTensor),
        ("torch", name) => STORAGES
            .into_iter()
            .find(|storage| *storage == name)
            .map(Known::Storage),
        _ => None,
    }
}
