//! The nodes of one document, with aliases resolved to the nodes they mean.

use std::collections::HashMap;

use super::YamlError;
use super::events::{Event, Kind, Parser};
use crate::codec::MAX_DEPTH;

/// A node's index in its tree.
pub(super) type NodeId = usize;

/// One node.
pub(super) struct Node {
    /// The line where it begins, from 0.
    pub(super) line: u64,
    pub(super) content: Content,
}

/// What a node holds.
pub(super) enum Content {
    Scalar { tag: Option<String>, value: String, plain: bool },
    Sequence(Vec<NodeId>),
    Mapping(Vec<(NodeId, NodeId)>),
    Alias { name: String, target: NodeId },
}

/// The nodes of a document.
pub(super) struct Tree {
    nodes: Vec<Node>,
    pub(super) root: Option<NodeId>,
}

struct Composer<'a> {
    parser: Parser<'a>,
    nodes: Vec<Node>,
    anchors: HashMap<String, NodeId>,
}

impl Tree {
    /// Reads the first document of a text.
    pub(super) fn read(text: &[u8]) -> Result<Self, YamlError> {
        let parser = Parser::new(text).ok_or_else(|| YamlError::Text("out of memory".to_owned()))?;
        let mut composer = Composer { parser, nodes: Vec::new(), anchors: HashMap::new() };
        let root = loop {
            let event = composer.next()?;
            match event.kind {
                Kind::Mark => {}
                Kind::StreamEnd | Kind::DocumentEnd => break None,
                _ => break Some(composer.node(event, 0)?),
            }
        };
        // The rest of the document must be sound too.
        if root.is_some() {
            composer.next()?;
        }
        Ok(Self { nodes: composer.nodes, root })
    }

    /// The node with this index.
    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }
}

impl Composer<'_> {
    fn next(&mut self) -> Result<Event, YamlError> {
        self.parser.next().map_err(YamlError::Text)
    }

    fn add(&mut self, line: u64, anchor: Option<String>, content: Content) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(Node { line, content });
        if let Some(name) = anchor {
            self.anchors.insert(name, id);
        }
        id
    }

    fn node(&mut self, event: Event, depth: usize) -> Result<NodeId, YamlError> {
        if depth > MAX_DEPTH {
            return Err(YamlError::Text(format!("exceeded max depth of {MAX_DEPTH}")));
        }
        let line = event.line;
        match event.kind {
            Kind::Scalar { anchor, tag, value, plain } => Ok(self.add(line, anchor, Content::Scalar { tag, value, plain })),
            Kind::Alias(name) => {
                let target = self.anchors.get(&name).copied();
                let target = target.ok_or_else(|| YamlError::Text(format!("unknown anchor '{name}' referenced")))?;
                Ok(self.add(line, None, Content::Alias { name, target }))
            }
            Kind::SequenceStart { anchor } => {
                let id = self.add(line, anchor, Content::Sequence(Vec::new()));
                let mut items = Vec::new();
                loop {
                    let event = self.next()?;
                    if matches!(event.kind, Kind::SequenceEnd) {
                        break;
                    }
                    items.push(self.node(event, depth + 1)?);
                }
                self.fill(id, Content::Sequence(items));
                Ok(id)
            }
            Kind::MappingStart { anchor } => {
                let id = self.add(line, anchor, Content::Mapping(Vec::new()));
                let mut pairs = Vec::new();
                loop {
                    let event = self.next()?;
                    if matches!(event.kind, Kind::MappingEnd) {
                        break;
                    }
                    let key = self.node(event, depth + 1)?;
                    let event = self.next()?;
                    pairs.push((key, self.node(event, depth + 1)?));
                }
                self.fill(id, Content::Mapping(pairs));
                Ok(id)
            }
            _ => Err(YamlError::Text("attempted to parse unknown event".to_owned())),
        }
    }

    fn fill(&mut self, id: NodeId, content: Content) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.content = content;
        }
    }
}
