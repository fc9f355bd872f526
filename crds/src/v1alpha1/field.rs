//! A field of a document type as it stands in an App.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::any_value;

/// A field of a document type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!(self.name in ['id', 'version', 'created_at', 'updated_at', 'created_by', 'updated_by', 'extra', 'and', 'or', 'not', 'select', 'order', 'limit', 'offset', 'after', 'count', 'q'])")
    .message("fields: id, version, created_at, updated_at, created_by, updated_by, extra, and, or, not, select, order, limit, offset, after, count and q are reserved names"))]
#[x_kube(validation = Rule::new("(self.type == 'Enum') == has(self.values)")
    .message("fields: values are needed with type Enum, and only there"))]
#[x_kube(validation = Rule::new("(self.type == 'Reference') == has(self.to)")
    .message("fields: to is needed with type Reference, and only there"))]
#[x_kube(validation = Rule::new("(self.type == 'List') == has(self.fields)")
    .message("fields: fields are needed with type List, and only there"))]
#[x_kube(validation = Rule::new("self.type == 'Decimal' || !(has(self.precision) || has(self.scale))")
    .message("fields: precision and scale belong to type Decimal"))]
#[x_kube(validation = Rule::new("!has(self.scale) || (has(self.precision) && self.scale <= self.precision)")
    .message("fields: scale needs a precision that is not smaller"))]
#[x_kube(validation = Rule::new("self.type in ['Integer', 'BigInt', 'Decimal', 'Float'] || !(has(self.min) || has(self.max))")
    .message("fields: min and max belong to numbers"))]
#[x_kube(validation = Rule::new("!(has(self.min) && has(self.max)) || self.min <= self.max")
    .message("fields: min must not be above max"))]
#[x_kube(validation = Rule::new("self.type in ['String', 'Text', 'Email', 'Url', 'Secret'] || !has(self.maxLength)")
    .message("fields: maxLength belongs to text"))]
#[x_kube(validation = Rule::new("self.type in ['String', 'Text'] || !has(self.pattern)")
    .message("fields: pattern belongs to String and Text"))]
#[x_kube(validation = Rule::new("!(self.type in ['Text', 'Json', 'List', 'Secret']) || !(self.unique || self.index)")
    .message("fields: Text, Json, List and Secret cannot be unique or indexed"))]
#[x_kube(validation = Rule::new("!(self.readOnly && self.writeOnly)")
    .message("fields: a field cannot be both readOnly and writeOnly"))]
#[x_kube(validation = Rule::new("self.type in ['Reference', 'File'] || !has(self.onDelete)")
    .message("fields: onDelete belongs to Reference and File"))]
#[x_kube(validation = Rule::new("!has(self.onDelete) || self.onDelete != 'SetNull' || !self.required")
    .message("fields: a required field cannot have onDelete SetNull"))]
#[serde(rename_all = "camelCase")]
pub struct FieldSpec {
    /// The name, which is also the column.
    #[schemars(length(max = 39), regex(pattern = "^[a-z]([a-z0-9_]*[a-z0-9])?$"))]
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// Whether a document must have a value.
    #[serde(default)]
    pub required: bool,
    /// Whether no two documents may have the same value.
    #[serde(default)]
    pub unique: bool,
    /// Whether filters and orders by this field are served from an index.
    #[serde(default)]
    pub index: bool,
    /// The value when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub default: Option<serde_json::Value>,
    /// The smallest number allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest number allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The most characters allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub max_length: Option<u32>,
    /// A regular expression that the whole value matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub pattern: Option<String>,
    /// For Enum: the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 200), inner(length(min = 1, max = 140)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub values: Vec<String>,
    /// For Decimal: all digits; 18 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 38))]
    pub precision: Option<u32>,
    /// For Decimal: digits after the point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 38))]
    pub scale: Option<u32>,
    /// For Reference: a document type of this app, or `app.doctype` of one that is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 60), regex(pattern = "^([a-z][a-z0-9]{0,19}[.])?[a-z]([a-z0-9_]*[a-z0-9])?$"))]
    pub to: Option<String>,
    /// For Reference and File: what becomes of this document when the one that it refers to is deleted; Restrict unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_delete: Option<OnDelete>,
    /// For List: the fields of an item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 30))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub fields: Vec<ItemFieldSpec>,
    /// Whether requests may not set the field.
    #[serde(default)]
    pub read_only: bool,
    /// Whether no answer ever shows the field.
    #[serde(default)]
    pub write_only: bool,
    /// What the field is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
}

/// A field of an item in a List. A type of its own, since a CRD's schema cannot recurse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!(self.type in ['List', 'Reference', 'File', 'Secret'])")
    .message("fields: an item of a List cannot hold List, Reference, File or Secret"))]
#[x_kube(validation = Rule::new("(self.type == 'Enum') == has(self.values)")
    .message("fields: values are needed with type Enum, and only there"))]
#[serde(rename_all = "camelCase")]
pub struct ItemFieldSpec {
    /// The name.
    #[schemars(length(max = 39), regex(pattern = "^[a-z]([a-z0-9_]*[a-z0-9])?$"))]
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// Whether an item must have a value.
    #[serde(default)]
    pub required: bool,
    /// The smallest number allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest number allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The most characters allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub max_length: Option<u32>,
    /// A regular expression that the whole value matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub pattern: Option<String>,
    /// For Enum: the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 200), inner(length(min = 1, max = 140)))]
    pub values: Vec<String>,
    /// For Decimal: all digits; 18 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 38))]
    pub precision: Option<u32>,
    /// For Decimal: digits after the point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 38))]
    pub scale: Option<u32>,
    /// What the field is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
}

impl From<ItemFieldSpec> for FieldSpec {
    fn from(item: ItemFieldSpec) -> Self {
        Self {
            name: item.name,
            field_type: item.field_type,
            required: item.required,
            unique: false,
            index: false,
            default: None,
            min: item.min,
            max: item.max,
            max_length: item.max_length,
            pattern: item.pattern,
            values: item.values,
            precision: item.precision,
            scale: item.scale,
            to: None,
            on_delete: None,
            fields: Vec::new(),
            read_only: false,
            write_only: false,
            description: item.description,
        }
    }
}

/// What becomes of a document when one that it refers to is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// It is in the way: the other one is not deleted.
    #[default]
    Restrict,
    /// It is deleted, too.
    Cascade,
    /// It refers to nothing from then on.
    SetNull,
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FieldType {
    /// A line of text, 140 characters unless `maxLength` says otherwise.
    String,
    /// Long text.
    Text,
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    BigInt,
    /// An exact decimal.
    Decimal,
    /// A floating-point number of 64 bits.
    Float,
    /// True or false.
    Boolean,
    /// A calendar date.
    Date,
    /// A point in time.
    DateTime,
    /// A time of day.
    Time,
    /// A UUID.
    Uuid,
    /// An e-mail address.
    Email,
    /// An absolute URL.
    Url,
    /// One of `values`.
    Enum,
    /// Any JSON.
    Json,
    /// A document of another type.
    Reference,
    /// Items with `fields` of their own.
    List,
    /// Text that no answer ever shows.
    Secret,
    /// A document of `core.file`.
    File,
}
