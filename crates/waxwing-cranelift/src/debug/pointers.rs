//! Types of pointers.
//!
//! A pointer in linear memory is as wide as the memory's addresses, and no debugger can follow it. But a variable that is a pointer can be
//! shown as a native one, computed from it. Debuggers make one pointer type of each type, which has to be the native one, also for
//! addresses that users of debuggers take: so pointers in memory are made to point to synonyms of types.

use super::Reader;
use gimli::constants as dw;
use gimli::write::{AttributeValue, ConvertUnit, ConvertUnitEntry, UnitEntryId};
use gimli::{DwTag, UnitOffset, UnitRef};
use std::collections::HashMap;

/// The bytes of a native pointer.
const NATIVE_SIZE: u8 = 8;

/// How many types to look through for what a type is.
const LONGEST_CHAIN: usize = 16;

/// The pointer types of a unit.
#[derive(Default)]
pub(super) struct Pointers {
    /// The native counterparts of types of pointers in memory.
    native: HashMap<UnitOffset, UnitEntryId>,
    /// What pointers in memory point to, by what they point to in the binary; `None` is nothing in particular.
    synonyms: HashMap<Option<UnitOffset>, UnitEntryId>,
    bytes: Option<UnitEntryId>,
}

/// Whether entries with the tag are pointers, as wide as addresses.
pub(super) fn is_pointer(tag: DwTag) -> bool {
    tag == dw::DW_TAG_pointer_type
        || tag == dw::DW_TAG_reference_type
        || tag == dw::DW_TAG_rvalue_reference_type
}

/// An entry's type.
fn type_of(
    unit: UnitRef<'_, Reader<'_>>,
    entry: &gimli::DebuggingInformationEntry<Reader<'_>>,
) -> Option<UnitOffset> {
    match entry.attr_value(dw::DW_AT_type)? {
        gimli::AttributeValue::UnitRef(offset) if offset.is_in_bounds(&unit) => Some(offset),
        _ => None,
    }
}

/// The pointer type that the type at `offset` is, or a synonym of.
pub(super) fn pointer_type(
    unit: UnitRef<'_, Reader<'_>>,
    mut offset: UnitOffset,
) -> Option<UnitOffset> {
    for _ in 0..LONGEST_CHAIN {
        let entry = unit.entry(offset).ok()?;
        match entry.tag() {
            tag if is_pointer(tag) => {
                return points_to_data(unit, &entry).then_some(offset);
            }
            dw::DW_TAG_typedef
            | dw::DW_TAG_const_type
            | dw::DW_TAG_volatile_type
            | dw::DW_TAG_restrict_type => {
                offset = type_of(unit, &entry)?;
            }
            _ => return None,
        }
    }
    None
}

/// Whether what a pointer refers to is in memory: functions are not.
fn points_to_data(
    unit: UnitRef<'_, Reader<'_>>,
    pointer: &gimli::DebuggingInformationEntry<Reader<'_>>,
) -> bool {
    if pointer.attr_value(dw::DW_AT_type).is_none() {
        return true;
    }
    let mut next = type_of(unit, pointer);
    for _ in 0..LONGEST_CHAIN {
        let Some(entry) = next.and_then(|offset| unit.entry(offset).ok()) else {
            return false;
        };
        match entry.tag() {
            dw::DW_TAG_subroutine_type | dw::DW_TAG_ptr_to_member_type => return false,
            dw::DW_TAG_typedef
            | dw::DW_TAG_const_type
            | dw::DW_TAG_volatile_type
            | dw::DW_TAG_restrict_type
                if entry.attr_value(dw::DW_AT_type).is_some() =>
            {
                next = type_of(unit, &entry);
            }
            _ => return true,
        }
    }
    false
}

/// A name for a type.
fn name(unit: UnitRef<'_, Reader<'_>>, offset: Option<UnitOffset>, depth: usize) -> Vec<u8> {
    let Some(entry) = offset.and_then(|offset| unit.entry(offset).ok()) else {
        return b"void".to_vec();
    };
    let own = entry.attr_value(dw::DW_AT_name);
    if let Some(own) = own.and_then(|value| unit.attr_string(value).ok()) {
        let is_c = matches!(
            language(unit),
            Some(
                dw::DW_LANG_C
                    | dw::DW_LANG_C89
                    | dw::DW_LANG_C99
                    | dw::DW_LANG_C11
                    | dw::DW_LANG_C17
            )
        );
        let prefix: &[u8] = match entry.tag() {
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type if is_c => b"struct ",
            dw::DW_TAG_union_type if is_c => b"union ",
            dw::DW_TAG_enumeration_type if is_c => b"enum ",
            _ => b"",
        };
        return [prefix, own.slice()].concat();
    }
    if depth == LONGEST_CHAIN {
        return b"?".to_vec();
    }
    let target = || name(unit, type_of(unit, &entry), depth + 1);
    match entry.tag() {
        dw::DW_TAG_const_type => [b"const ".to_vec(), target()].concat(),
        dw::DW_TAG_volatile_type => [b"volatile ".to_vec(), target()].concat(),
        dw::DW_TAG_restrict_type => target(),
        tag if is_pointer(tag) => [target(), b" *".to_vec()].concat(),
        _ => b"?".to_vec(),
    }
}

fn language(unit: UnitRef<'_, Reader<'_>>) -> Option<gimli::DwLang> {
    let root = unit.entry(unit.header.root_offset()).ok()?;
    match root.attr_value(dw::DW_AT_language)? {
        gimli::AttributeValue::Language(language) => Some(language),
        _ => None,
    }
}

impl Pointers {
    /// Completes the type of pointers in memory that `entry` is.
    pub(super) fn in_memory(
        &mut self,
        unit: &mut ConvertUnit<'_, Reader<'_>>,
        id: UnitEntryId,
        entry: &ConvertUnitEntry<'_, Reader<'_>>,
    ) {
        let read_unit = entry.read_unit;
        let size = read_unit.encoding().address_size;
        let size = AttributeValue::Udata(size.into());
        unit.unit.get_mut(id).set(dw::DW_AT_byte_size, size);
        if !points_to_data(read_unit, entry) {
            return;
        }
        let target = type_of(read_unit, entry);
        if let Some(synonym) = self.synonym(unit, target) {
            let ty = AttributeValue::UnitRef(synonym);
            unit.unit.get_mut(id).set(dw::DW_AT_type, ty);
        }
    }

    fn synonym(
        &mut self,
        unit: &mut ConvertUnit<'_, Reader<'_>>,
        target: Option<UnitOffset>,
    ) -> Option<UnitEntryId> {
        if let Some(id) = self.synonyms.get(&target) {
            return Some(*id);
        }
        let id = match target {
            Some(target) => Some(unit.convert_unit_ref(target).ok()?),
            None => None,
        };
        let name = name(unit.read_unit, target, 0);
        let root = unit.unit.root();
        let synonym = unit.unit.add(root, dw::DW_TAG_typedef);
        let entry = unit.unit.get_mut(synonym);
        entry.set(dw::DW_AT_name, AttributeValue::String(name));
        if let Some(id) = id {
            entry.set(dw::DW_AT_type, AttributeValue::UnitRef(id));
        }
        self.synonyms.insert(target, synonym);
        Some(synonym)
    }

    /// The type of native pointers to what the pointer type at `offset` points to.
    pub(super) fn native(
        &mut self,
        unit: &mut ConvertUnit<'_, Reader<'_>>,
        offset: UnitOffset,
    ) -> Option<UnitEntryId> {
        if let Some(id) = self.native.get(&offset) {
            return Some(*id);
        }
        let read_unit = unit.read_unit;
        let pointer = read_unit.entry(offset).ok()?;
        let target = match type_of(read_unit, &pointer) {
            Some(target) => Some(unit.convert_unit_ref(target).ok()?),
            None => None,
        };
        let root = unit.unit.root();
        let native = unit.unit.add(root, pointer.tag());
        let entry = unit.unit.get_mut(native);
        entry.set(
            dw::DW_AT_byte_size,
            AttributeValue::Udata(NATIVE_SIZE.into()),
        );
        if let Some(target) = target {
            entry.set(dw::DW_AT_type, AttributeValue::UnitRef(target));
        }
        self.native.insert(offset, native);
        Some(native)
    }

    /// The type of native pointers to bytes.
    pub(super) fn byte_pointer(&mut self, unit: &mut ConvertUnit<'_, Reader<'_>>) -> UnitEntryId {
        if let Some(id) = self.bytes {
            return id;
        }
        let root = unit.unit.root();
        let byte = unit.unit.add(root, dw::DW_TAG_base_type);
        let entry = unit.unit.get_mut(byte);
        entry.set(
            dw::DW_AT_name,
            AttributeValue::String(b"__waxwing_byte".to_vec()),
        );
        entry.set(
            dw::DW_AT_encoding,
            AttributeValue::Encoding(dw::DW_ATE_unsigned_char),
        );
        entry.set(dw::DW_AT_byte_size, AttributeValue::Udata(1));
        let pointer = unit.unit.add(root, dw::DW_TAG_pointer_type);
        let entry = unit.unit.get_mut(pointer);
        entry.set(
            dw::DW_AT_byte_size,
            AttributeValue::Udata(NATIVE_SIZE.into()),
        );
        entry.set(dw::DW_AT_type, AttributeValue::UnitRef(byte));
        self.bytes = Some(pointer);
        pointer
    }
}
