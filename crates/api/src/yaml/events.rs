//! libyaml's events as safe values.
#![allow(unsafe_code, reason = "unsafe-libyaml has a C interface; this file is the crate's only door to it")]

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use unsafe_libyaml::{
    YAML_ALIAS_EVENT, YAML_DOCUMENT_END_EVENT, YAML_DOCUMENT_START_EVENT, YAML_MAPPING_END_EVENT, YAML_MAPPING_START_EVENT,
    YAML_PLAIN_SCALAR_STYLE, YAML_SCALAR_EVENT, YAML_SCANNER_ERROR, YAML_SEQUENCE_END_EVENT, YAML_SEQUENCE_START_EVENT,
    YAML_STREAM_END_EVENT, yaml_event_delete, yaml_event_t, yaml_parser_delete, yaml_parser_initialize, yaml_parser_parse,
    yaml_parser_set_input_string, yaml_parser_t,
};

/// One event of the parser with the line (from 0) where it begins.
pub(super) struct Event {
    pub(super) line: u64,
    pub(super) kind: Kind,
}

/// What an event says.
pub(super) enum Kind {
    /// A stream or document mark that carries nothing.
    Mark,
    DocumentEnd,
    StreamEnd,
    Alias(String),
    Scalar {
        anchor: Option<String>,
        tag: Option<String>,
        value: String,
        plain: bool,
    },
    SequenceStart {
        anchor: Option<String>,
    },
    SequenceEnd,
    MappingStart {
        anchor: Option<String>,
    },
    MappingEnd,
}

/// libyaml's parser over a text.
pub(super) struct Parser<'a> {
    // Boxed, since libyaml keeps pointers into the struct and it must not move.
    inner: Box<MaybeUninit<yaml_parser_t>>,
    text: PhantomData<&'a [u8]>,
}

impl<'a> Parser<'a> {
    /// A parser, or `None` when memory is short.
    pub(super) fn new(text: &'a [u8]) -> Option<Self> {
        let mut inner = Box::new(MaybeUninit::<yaml_parser_t>::uninit());
        let raw = inner.as_mut_ptr();
        // SAFETY: `raw` points to memory for one parser, which the first call initialises; on failure it owns nothing.
        // The text outlives the parser by the lifetime `'a`.
        unsafe {
            if yaml_parser_initialize(raw).fail {
                return None;
            }
            yaml_parser_set_input_string(raw, text.as_ptr(), text.len() as u64);
        }
        Some(Self { inner, text: PhantomData })
    }

    /// The next event. The error is go-yaml's sentence, without its `yaml: `.
    pub(super) fn next(&mut self) -> Result<Event, String> {
        let mut event = MaybeUninit::<yaml_event_t>::uninit();
        // SAFETY: the parser was initialised in `new`; the event is written by a successful call and read only then.
        unsafe {
            if yaml_parser_parse(self.inner.as_mut_ptr(), event.as_mut_ptr()).fail {
                return Err(self.problem());
            }
        }
        // SAFETY: the call above succeeded, so the event is initialised.
        let line = unsafe { (*event.as_ptr()).start_mark.line };
        // SAFETY: as above; `kind` copies all text before the event is deleted.
        let kind = unsafe { kind(&*event.as_ptr()) };
        // SAFETY: the event is deleted once and not used afterwards.
        unsafe { yaml_event_delete(event.as_mut_ptr()) };
        Ok(Event { line, kind })
    }

    fn problem(&self) -> String {
        // SAFETY: the parser was initialised in `new`; its problem is null or a static C string.
        unsafe {
            let p = &*self.inner.as_ptr();
            let line = match (p.problem_mark.line, p.context_mark.line) {
                (0, context) => context,
                // Scanner errors do not count the line they stop in.
                (line, _) if p.error == YAML_SCANNER_ERROR => line + 1,
                (line, _) => line,
            };
            let what = match p.problem.is_null() {
                true => "unknown problem parsing YAML content".to_owned(),
                false => CStr::from_ptr(p.problem.cast::<c_char>()).to_string_lossy().into_owned(),
            };
            if line == 0 { what } else { format!("line {line}: {what}") }
        }
    }
}

impl Drop for Parser<'_> {
    fn drop(&mut self) {
        // SAFETY: the parser was initialised in `new` and is deleted once.
        unsafe { yaml_parser_delete(self.inner.as_mut_ptr()) };
    }
}

/// # Safety
/// `pointer` is null or a NUL-terminated string.
unsafe fn text(pointer: *const u8) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    Some(unsafe { CStr::from_ptr(pointer.cast::<c_char>()) }.to_string_lossy().into_owned())
}

/// # Safety
/// `event` was filled by libyaml.
unsafe fn kind(event: &yaml_event_t) -> Kind {
    // SAFETY: the event's type says which member of the union is set, and its pointers are null or C strings; the scalar's
    // value has the length beside it.
    unsafe {
        match event.type_ {
            YAML_DOCUMENT_END_EVENT => Kind::DocumentEnd,
            YAML_STREAM_END_EVENT => Kind::StreamEnd,
            YAML_SEQUENCE_END_EVENT => Kind::SequenceEnd,
            YAML_MAPPING_END_EVENT => Kind::MappingEnd,
            YAML_ALIAS_EVENT => Kind::Alias(text(event.data.alias.anchor).unwrap_or_default()),
            YAML_SEQUENCE_START_EVENT => Kind::SequenceStart { anchor: text(event.data.sequence_start.anchor) },
            YAML_MAPPING_START_EVENT => Kind::MappingStart { anchor: text(event.data.mapping_start.anchor) },
            YAML_SCALAR_EVENT => {
                let s = &event.data.scalar;
                let bytes = match (s.value.is_null(), usize::try_from(s.length)) {
                    (false, Ok(length)) => std::slice::from_raw_parts(s.value, length),
                    _ => &[],
                };
                Kind::Scalar {
                    anchor: text(s.anchor),
                    tag: text(s.tag),
                    value: String::from_utf8_lossy(bytes).into_owned(),
                    plain: s.style == YAML_PLAIN_SCALAR_STYLE,
                }
            }
            YAML_DOCUMENT_START_EVENT => Kind::Mark,
            _ => Kind::Mark,
        }
    }
}
