//! Commands of a transaction: its changes to the records of the store.

use std::collections::BTreeSet;

use super::elements::{OldValues, Token, TokenKind};
use super::input::{Input, ReadAt};
use super::kernel::KernelVersion;
use super::parse_error::LogParseError;
use super::property::{Owner, PropertyRecord, WantedTexts};
use super::record::{IN_USE, NodeRecord, RelationshipRecord, dynamic_records, skip_group};
use crate::model::committed::{Change, Elements};

/// The deepest nesting in a schema rule: values in arrays.
const MAX_DEPTH: u32 = 2;

mod number {
    pub(super) const NODE: u8 = 1;
    pub(super) const PROPERTY: u8 = 2;
    pub(super) const RELATIONSHIP: u8 = 3;
    pub(super) const TYPE_TOKEN: u8 = 4;
    pub(super) const PROPERTY_TOKEN: u8 = 5;
    pub(super) const LABEL_TOKEN: u8 = 8;
    pub(super) const GROUP: u8 = 9;
    pub(super) const RELATIONSHIP_COUNTS: u8 = 16;
    pub(super) const NODE_COUNTS: u8 = 17;
    pub(super) const SCHEMA_RULE: u8 = 18;
    pub(super) const META_DATA: u8 = 19;
    pub(super) const GROUP_DEGREE: u8 = 20;
    pub(super) const NODE_CREATE: u8 = 22;
    pub(super) const NODE_DELETE: u8 = 23;
    pub(super) const PROPERTY_CREATE: u8 = 24;
    pub(super) const PROPERTY_DELETE: u8 = 25;
    pub(super) const RELATIONSHIP_CREATE: u8 = 26;
    pub(super) const RELATIONSHIP_DELETE: u8 = 27;
}

/// The changes that the commands of a transaction made.
#[derive(Debug, Default)]
pub(super) struct RecordChanges {
    pub(super) nodes: Elements,
    pub(super) relationships: Elements,
    pub(super) old_values: OldValues,
    pub(super) relabelled: BTreeSet<u64>,
    pub(super) tokens: Vec<Token>,
    pub(super) schema_rules: u64,
    pub(super) unowned: u64,
}

/// Reads commands from an input into changes.
pub(super) struct Commands<'a, R> {
    pub(super) input: &'a mut Input<R>,
    pub(super) kernel: KernelVersion,
    pub(super) wanted: WantedTexts<'a>,
    pub(super) changes: RecordChanges,
}

impl<R: ReadAt> Commands<'_, R> {
    /// Reads the next command.
    pub(super) fn read(&mut self) -> Result<(), LogParseError> {
        let command = self.input.u8()?;
        let of_its_own = (number::NODE_CREATE..=number::RELATIONSHIP_DELETE).contains(&command);
        if of_its_own && !self.kernel.has_creates() {
            return Err(LogParseError::Command(command));
        }
        match command {
            number::NODE => self.node_update(),
            number::NODE_CREATE => self.node(Change::Created),
            number::NODE_DELETE => self.node(Change::Deleted),
            number::RELATIONSHIP => self.relationship_update(),
            number::RELATIONSHIP_CREATE => self.relationship(Change::Created),
            number::RELATIONSHIP_DELETE => self.relationship(Change::Deleted),
            number::PROPERTY => self.property_update(),
            number::PROPERTY_CREATE => self.property_create(),
            number::PROPERTY_DELETE => self.property_delete(),
            number::GROUP => {
                self.input.skip(8)?;
                skip_group(self.input)?;
                skip_group(self.input)
            }
            number::GROUP_DEGREE => self.input.skip(8 + 8),
            number::NODE_COUNTS => self.input.skip(4 + 8),
            number::RELATIONSHIP_COUNTS => self.input.skip(3 * 4 + 8),
            number::LABEL_TOKEN => self.token(TokenKind::Label),
            number::TYPE_TOKEN => self.token(TokenKind::Type),
            number::PROPERTY_TOKEN => self.token(TokenKind::Property),
            number::SCHEMA_RULE => self.schema_rule(),
            number::META_DATA => self.input.skip(8 + 2 * (1 + 8)),
            other => Err(LogParseError::Command(other)),
        }
    }

    fn element_number(&mut self) -> Result<u64, LogParseError> {
        let number = self.input.i64()?;
        u64::try_from(number).map_err(|_| LogParseError::Length(number))
    }

    fn node(&mut self, change: Change) -> Result<(), LogParseError> {
        let node = self.element_number()?;
        NodeRecord::read(self.input)?;
        self.changes.nodes.note(node, change);
        Ok(())
    }

    fn node_update(&mut self) -> Result<(), LogParseError> {
        let node = self.element_number()?;
        let (before, after) = (NodeRecord::read(self.input)?, NodeRecord::read(self.input)?);
        if let Some(change) = change(before.in_use, after.in_use, after.differs(&before)) {
            self.changes.nodes.note(node, change);
        }
        if before.in_use && after.in_use && after.is_relabelled(&before) {
            self.changes.relabelled.insert(node);
        }
        Ok(())
    }

    fn relationship(&mut self, change: Change) -> Result<(), LogParseError> {
        let relationship = self.element_number()?;
        RelationshipRecord::read(self.input)?;
        self.changes.relationships.note(relationship, change);
        Ok(())
    }

    fn relationship_update(&mut self) -> Result<(), LogParseError> {
        let relationship = self.element_number()?;
        let (before, after) = (RelationshipRecord::read(self.input)?, RelationshipRecord::read(self.input)?);
        if let Some(change) = change(before.in_use, after.in_use, after.differs(&before)) {
            self.changes.relationships.note(relationship, change);
        }
        Ok(())
    }

    fn property_create(&mut self) -> Result<(), LogParseError> {
        self.input.skip(8)?;
        let after = PropertyRecord::read(self.input, WantedTexts::NONE)?;
        self.owner_changed(after.owner);
        Ok(())
    }

    fn property_delete(&mut self) -> Result<(), LogParseError> {
        self.input.skip(8)?;
        let before = PropertyRecord::read(self.input, self.wanted)?;
        self.owner_changed(before.owner);
        self.keep(before);
        Ok(())
    }

    fn property_update(&mut self) -> Result<(), LogParseError> {
        self.input.skip(8)?;
        let before = PropertyRecord::read(self.input, self.wanted)?;
        let after = PropertyRecord::read(self.input, WantedTexts::NONE)?;
        // A record that is no longer in use may have lost its owner.
        self.owner_changed(if after.in_use || before.owner == Owner::Unknown { after.owner } else { before.owner });
        self.keep(before);
        Ok(())
    }

    fn owner_changed(&mut self, owner: Owner) {
        match owner {
            Owner::Node(node) => self.changes.nodes.note(node, Change::Updated),
            Owner::Relationship(relationship) => self.changes.relationships.note(relationship, Change::Updated),
            Owner::Schema => {}
            Owner::Unknown => self.changes.unowned += 1,
        }
    }

    /// Keeps the texts that a record held before the transaction.
    fn keep(&mut self, before: PropertyRecord) {
        let values = match before.owner {
            Owner::Node(node) => (&mut self.changes.old_values.nodes, node),
            Owner::Relationship(relationship) => (&mut self.changes.old_values.relationships, relationship),
            Owner::Schema | Owner::Unknown => return,
        };
        if before.texts.is_empty() {
            return;
        }
        let known = values.0.entry(values.1).or_default();
        for (name, text) in before.texts {
            let value = known.entry(name).or_default();
            if value.is_none() {
                *value = text;
            }
        }
    }

    fn token(&mut self, kind: TokenKind) -> Result<(), LogParseError> {
        let number = self.input.length()?;
        self.token_record(kind, None)?;
        let mut name = Vec::new();
        self.token_record(kind, Some(&mut name))?;
        if let Ok(name) = String::from_utf8(name) {
            self.changes.tokens.push(Token { kind, number, name });
        }
        Ok(())
    }

    fn token_record(&mut self, kind: TokenKind, name: Option<&mut Vec<u8>>) -> Result<(), LogParseError> {
        let count = if kind == TokenKind::Property { 4 } else { 0 };
        // The flags, the number of properties with the name, and the number of the name's record.
        self.input.skip(1 + count + 4)?;
        dynamic_records(self.input, name).map(drop)
    }

    fn schema_rule(&mut self) -> Result<(), LogParseError> {
        self.changes.schema_rules += 1;
        self.input.skip(8)?;
        let has_rule = self.input.u8()? != 0;
        for _ in 0..2 {
            if self.input.u8()? & IN_USE != 0 {
                self.input.skip(1 + 8)?;
            }
        }
        if !has_rule {
            return Ok(());
        }
        for _ in 0..self.input.length()? {
            let name = self.input.length()?;
            self.input.skip(name.into())?;
            let kind = self.input.u8()?;
            self.value(kind, 0)?;
        }
        Ok(())
    }

    /// Skips a value of a schema rule.
    fn value(&mut self, kind: u8, depth: u32) -> Result<(), LogParseError> {
        match kind {
            0 | 1 if depth == 0 => Ok(()),
            2 if depth > 0 => self.input.skip(1),
            3 => self.input.skip(1),
            4 => self.input.skip(2),
            5 | 7 | 10 => self.input.skip(4),
            6 | 8 => self.input.skip(8),
            9 => {
                let length = self.input.length()?;
                self.input.skip(length.into())
            }
            11 if depth < MAX_DEPTH => {
                let number = self.input.length()?;
                let kind = self.input.u8()?;
                for _ in 0..number {
                    self.value(kind, depth + 1)?;
                }
                Ok(())
            }
            other => Err(LogParseError::ValueKind(other)),
        }
    }
}

/// Returns the change of the element that an update of its record shows; `None` if only chains moved.
fn change(was: bool, is: bool, differs: bool) -> Option<Change> {
    match (was, is) {
        (false, true) => Some(Change::Created),
        (true, false) => Some(Change::Deleted),
        (true, true) => differs.then_some(Change::Updated),
        (false, false) => None,
    }
}
