//! Units and the tree of entries in each.

use super::Reader;
use super::expression::{self, Scope};
use super::lines::Lines;
use super::places::{Function, Places};
use super::pointers::{self, Pointers};
use super::writer::code_address;
use gimli::write::{
    self, Address, AttributeValue, ConvertError, ConvertResult, ConvertUnit, ConvertUnitEntry,
    Expression, Location, LocationList, UnitEntryId,
};
use gimli::{
    DW_AT_abstract_origin, DW_AT_artificial, DW_AT_entry_pc, DW_AT_frame_base, DW_AT_high_pc,
    DW_AT_location, DW_AT_low_pc, DW_AT_name, DW_AT_ranges, DW_AT_specification, DW_AT_stmt_list,
    DW_AT_type, DW_OP_call_frame_cfa, DW_TAG_dwarf_procedure, DW_TAG_formal_parameter,
    DW_TAG_subprogram, DW_TAG_variable, DwarfPackage, Encoding, Operation, UnitOffset, UnitRef,
};
use std::collections::HashMap;
use std::ops::Range;

/// Entries nested deeper than this are not those of a program.
const DEEPEST: isize = 200;

/// The variable by which users of debuggers get at linear memory.
const MEMORY_VARIABLE: &[u8] = b"__waxwing_memory";

/// Writes all units of `read` for the text.
pub(super) fn convert(
    places: &Places<'_>,
    read: &gimli::Dwarf<Reader<'_>>,
    package: Option<&DwarfPackage<Reader<'_>>>,
    dwarf: &mut write::Dwarf,
) -> ConvertResult<()> {
    let mut section = dwarf.convert(read)?;
    while let Some((mut unit, root)) = section.read_unit()? {
        let encoding = Encoding {
            address_size: 8,
            format: gimli::Format::Dwarf32,
            ..unit.read_unit.encoding()
        };
        unit.unit.set_encoding(encoding);
        let root_id = unit.unit.root();
        let split = match (package, unit.read_unit.dwo_id) {
            (Some(package), Some(id)) => package.find_cu(id, read).ok().flatten(),
            _ => None,
        };
        let Some(split) = split else {
            if convert_unit(places, &mut unit, root_id, root).is_err() {
                unit.skip();
            }
            continue;
        };
        attributes(&mut unit, root_id, &root);
        // What cannot be read stays as empty as the unit that names it.
        let Ok(mut split) = unit.convert_split(&split) else {
            continue;
        };
        let Ok((mut unit, root)) = split.read_unit() else {
            continue;
        };
        if convert_unit(places, &mut unit, root_id, root).is_err() {
            unit.skip();
        }
    }
    Ok(())
}

/// Entries around the one that is being converted, by their depth.
struct Surrounding<'a, 'data> {
    depth: isize,
    function: Option<&'a Function<'a>>,
    frame_base: Option<gimli::Expression<Reader<'data>>>,
    valid: Range<u64>,
}

fn convert_unit<'data>(
    places: &Places<'_>,
    unit: &mut ConvertUnit<'_, Reader<'data>>,
    root_id: UnitEntryId,
    root: ConvertUnitEntry<'_, Reader<'data>>,
) -> ConvertResult<()> {
    let encoding = unit.unit.encoding();
    let lines = Lines::convert(unit, places, encoding)?;
    attributes(unit, root_id, &root);
    let skeleton = unit.read_skeleton_unit.unwrap_or(unit.read_unit);
    let ranges = native_ranges(places, skeleton.unit_ranges());
    set_ranges(unit, root_id, &ranges, true);
    let mut pointers = Pointers::default();
    let memory_base = add_memory(places, unit, &mut pointers);
    let mut surrounding: Vec<Surrounding<'_, 'data>> = Vec::new();
    let mut valid: HashMap<u64, Range<u64>> = HashMap::new();
    let mut entry = unit.null_entry();
    while let Some(id) = unit.read_entry(&mut entry)? {
        if entry.depth > DEEPEST {
            return Err(ConvertError::InvalidAttributeValue);
        }
        while surrounding.last().is_some_and(|s| s.depth >= entry.depth) {
            surrounding.pop();
        }
        let id = unit.add_entry(id, &entry);
        attributes(unit, id, &entry);
        if pointers::is_pointer(entry.tag) {
            pointers.in_memory(unit, id, &entry);
        }
        let has_code = [DW_AT_low_pc, DW_AT_ranges]
            .iter()
            .any(|name| entry.attr_value(*name).is_some());
        if has_code {
            let ranges = native_ranges(places, entry.read_unit.die_ranges(&entry));
            set_ranges(unit, id, &ranges, false);
        }
        if entry.tag == DW_TAG_subprogram {
            let function = wasm_start(entry.read_unit, &entry);
            let function = function.and_then(|start| places.function_at(start));
            surrounding.push(Surrounding {
                depth: entry.depth,
                function,
                frame_base: match entry.attr_value(DW_AT_frame_base) {
                    Some(gimli::AttributeValue::Exprloc(base)) => Some(base),
                    _ => None,
                },
                valid: function.map_or(0..0, |function| {
                    let valid = valid.entry(function.code.start);
                    valid.or_insert_with(|| lines.valid(function)).clone()
                }),
            });
            if function.is_some() {
                let mut base = Expression::new();
                base.op(DW_OP_call_frame_cfa);
                let base = AttributeValue::Exprloc(base);
                unit.unit.get_mut(id).set(DW_AT_frame_base, base);
            }
        }
        if entry.tag == DW_TAG_variable || entry.tag == DW_TAG_formal_parameter {
            let around = surrounding.last();
            let scope = Scope {
                places,
                encoding: entry.read_unit.encoding(),
                function: around.and_then(|around| around.function),
                frame_base: around.and_then(|around| around.frame_base),
                memory_base,
            };
            let valid = around.map(|around| around.valid.clone());
            variable(&scope, valid, unit, &mut pointers, id, &entry);
        }
    }
    Ok(())
}

/// Copies the attributes that are the same for the text.
fn attributes<'data>(
    unit: &mut ConvertUnit<'_, Reader<'data>>,
    id: UnitEntryId,
    entry: &ConvertUnitEntry<'_, Reader<'data>>,
) {
    for attr in &entry.attrs {
        let name = attr.name();
        if [
            DW_AT_low_pc,
            DW_AT_high_pc,
            DW_AT_ranges,
            DW_AT_entry_pc,
            DW_AT_location,
            DW_AT_frame_base,
            DW_AT_stmt_list,
        ]
        .contains(&name)
        {
            continue;
        }
        match attr.value() {
            // Places of code that debuggers do without, and what is said of them.
            gimli::AttributeValue::Addr(_)
            | gimli::AttributeValue::DebugAddrIndex(_)
            | gimli::AttributeValue::LocationListsRef(_)
            | gimli::AttributeValue::DebugLocListsIndex(_)
            | gimli::AttributeValue::RangeListsRef(_)
            | gimli::AttributeValue::DebugRngListsIndex(_)
            | gimli::AttributeValue::DebugMacinfoRef(_)
            | gimli::AttributeValue::DebugMacroRef(_)
            | gimli::AttributeValue::DebugTypesRef(_)
            | gimli::AttributeValue::DebugInfoRefSup(_)
            | gimli::AttributeValue::DebugStrRefSup(_)
            | gimli::AttributeValue::DebugLineRef(_) => continue,
            gimli::AttributeValue::Exprloc(expression)
                if !is_arithmetic(expression, entry.read_unit.encoding()) =>
            {
                continue;
            }
            _ => {}
        }
        let no_address = |_| None::<Address>;
        let converted = unit.convert_attribute_value(entry.read_unit, attr, &no_address);
        if let Ok(value) = converted {
            unit.unit.get_mut(id).set(name, value);
        }
    }
}

/// Whether an expression means the same everywhere.
fn is_arithmetic(expression: gimli::Expression<Reader<'_>>, encoding: Encoding) -> bool {
    let mut operations = expression.operations(encoding);
    loop {
        match operations.next() {
            Ok(Some(
                Operation::PlusConstant { .. }
                | Operation::UnsignedConstant { .. }
                | Operation::SignedConstant { .. }
                | Operation::Plus
                | Operation::Minus
                | Operation::Mul,
            )) => {}
            Ok(None) => return true,
            _ => return false,
        }
    }
}

/// The places in the text that belong to ranges of the binary.
fn native_ranges(
    places: &Places<'_>,
    ranges: gimli::Result<gimli::RangeIter<Reader<'_>>>,
) -> Vec<Range<u64>> {
    let mut native: Vec<Range<u64>> = Vec::new();
    let Ok(mut ranges) = ranges else {
        return native;
    };
    while let Ok(Some(range)) = ranges.next() {
        if !places.spend(1) {
            break;
        }
        native.extend(places.ranges(range.begin..range.end));
    }
    native.sort_by_key(|range| range.start);
    native.dedup();
    native
}

fn set_ranges(
    unit: &mut ConvertUnit<'_, Reader<'_>>,
    id: UnitEntryId,
    ranges: &[Range<u64>],
    is_unit: bool,
) {
    match ranges {
        [] => {}
        [range] => {
            let entry = unit.unit.get_mut(id);
            let start = AttributeValue::Address(code_address(range.start));
            entry.set(DW_AT_low_pc, start);
            let len = AttributeValue::Udata(range.end - range.start);
            entry.set(DW_AT_high_pc, len);
        }
        ranges => {
            let list = ranges.iter().map(|range| write::Range::StartEnd {
                begin: code_address(range.start),
                end: code_address(range.end),
            });
            let list = unit.unit.ranges.add(write::RangeList(list.collect()));
            let entry = unit.unit.get_mut(id);
            entry.set(DW_AT_ranges, AttributeValue::RangeListRef(list));
            if is_unit {
                // What addresses in the unit's older kinds of lists are relative to.
                let zero = AttributeValue::Address(Address::Constant(0));
                entry.set(DW_AT_low_pc, zero);
            }
        }
    }
}

/// Where a function begins in the binary.
fn wasm_start<'data>(
    unit: UnitRef<'_, Reader<'data>>,
    entry: &ConvertUnitEntry<'_, Reader<'data>>,
) -> Option<u64> {
    let mut ranges = unit.die_ranges(entry).ok()?;
    Some(ranges.next().ok()??.begin)
}

/// Adds a procedure that gives the base of the first memory in any function, and the variable by which users get at it.
fn add_memory(
    places: &Places<'_>,
    unit: &mut ConvertUnit<'_, Reader<'_>>,
    pointers: &mut Pointers,
) -> Option<UnitEntryId> {
    let locations = |is_value: bool| {
        let location = |function: &Function<'_>| {
            let mut data = expression::memory_base(places, function)?;
            if is_value {
                data.op(gimli::DW_OP_stack_value);
            }
            located(&function.valid(), data)
        };
        LocationList(places.functions.iter().filter_map(location).collect())
    };
    let list = locations(false);
    if list.0.is_empty() {
        return None;
    }
    let root = unit.unit.root();
    let list = unit.unit.locations.add(list);
    let procedure = unit.unit.add(root, DW_TAG_dwarf_procedure);
    let entry = unit.unit.get_mut(procedure);
    entry.set(DW_AT_location, AttributeValue::LocationListRef(list));

    let list = unit.unit.locations.add(locations(true));
    let ty = pointers.byte_pointer(unit);
    let variable = unit.unit.add(root, DW_TAG_variable);
    let entry = unit.unit.get_mut(variable);
    let name = AttributeValue::String(MEMORY_VARIABLE.to_vec());
    entry.set(DW_AT_name, name);
    entry.set(DW_AT_type, AttributeValue::UnitRef(ty));
    entry.set(DW_AT_artificial, AttributeValue::FlagPresent);
    entry.set(DW_AT_location, AttributeValue::LocationListRef(list));
    Some(procedure)
}

fn located(range: &Range<u64>, data: Expression) -> Option<Location> {
    (range.start < range.end).then(|| Location::StartEnd {
        begin: code_address(range.start),
        end: code_address(range.end),
        data,
    })
}

/// Says where a variable is, if that is known.
fn variable(
    scope: &Scope<'_, '_>,
    valid: Option<Range<u64>>,
    unit: &mut ConvertUnit<'_, Reader<'_>>,
    pointers: &mut Pointers,
    id: UnitEntryId,
    entry: &ConvertUnitEntry<'_, Reader<'_>>,
) {
    let Some(value) = entry.attr_value(DW_AT_location) else {
        return;
    };
    let read_unit = entry.read_unit;
    // Places in the binary with the expression for each; everywhere if there is no range.
    let mut located_by = Vec::new();
    if let gimli::AttributeValue::Exprloc(data) = value {
        located_by.push((None, data));
    } else if let Ok(Some(mut list)) = read_unit.attr_locations(value) {
        while let Ok(Some(location)) = list.next() {
            if !scope.places.spend(1 + location.data.0.len()) {
                break;
            }
            let range = location.range.begin..location.range.end;
            located_by.push((Some(range), location.data));
        }
    }
    let in_pieces = located_by
        .iter()
        .any(|(_, data)| expression::has_pieces(*data, scope.encoding));
    let pointer = match in_pieces {
        true => None,
        false => variable_pointer(read_unit, entry),
    };
    let pointer = pointer.and_then(|offset| pointers.native(unit, offset));
    let location = |data| expression::location(scope, data, pointer.is_some());
    let value = match (&located_by[..], valid) {
        // A static variable.
        ([(None, data)], None) => location(*data).map(AttributeValue::Exprloc),
        (_, None) => None,
        (located_by, Some(valid)) => {
            let mut list = Vec::new();
            for (range, data) in located_by {
                let Some(data) = location(*data) else {
                    continue;
                };
                let ranges = match range {
                    None => vec![valid.clone()],
                    Some(range) => scope.places.ranges(range.clone()),
                };
                list.extend(ranges.into_iter().filter_map(|range| {
                    let range = range.start.max(valid.start)..range.end.min(valid.end);
                    located(&range, data.clone())
                }));
            }
            (!list.is_empty()).then(|| {
                let list = unit.unit.locations.add(LocationList(list));
                AttributeValue::LocationListRef(list)
            })
        }
    };
    let Some(value) = value else {
        return;
    };
    let converted = unit.unit.get_mut(id);
    converted.set(DW_AT_location, value);
    if let Some(ty) = pointer {
        converted.set(DW_AT_type, AttributeValue::UnitRef(ty));
    }
}

/// The pointer type that a variable has, be it by the entry that this one is an instance of.
fn variable_pointer(
    unit: UnitRef<'_, Reader<'_>>,
    entry: &ConvertUnitEntry<'_, Reader<'_>>,
) -> Option<UnitOffset> {
    let ty = |value| match value {
        gimli::AttributeValue::UnitRef(offset) => Some(offset),
        _ => None,
    };
    if let Some(own) = entry.attr_value(DW_AT_type) {
        return pointers::pointer_type(unit, ty(own)?);
    }
    let origin = [DW_AT_abstract_origin, DW_AT_specification]
        .iter()
        .find_map(|name| ty(entry.attr_value(*name)?))?;
    let origin = unit.entry(origin).ok()?;
    pointers::pointer_type(unit, ty(origin.attr_value(DW_AT_type)?)?)
}
