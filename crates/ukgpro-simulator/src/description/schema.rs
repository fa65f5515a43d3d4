//! XML Schema in the form in which WCF writes the types of a data contract.

use std::fmt::Write as _;

/// Where WCF keeps elements of the simple types.
pub(crate) const SERIALIZATION: &str = "http://schemas.microsoft.com/2003/10/Serialization/";

/// The schema of one namespace.
pub(crate) struct Schema {
    /// The namespace.
    pub(crate) namespace: String,
    imports: Vec<String>,
    body: String,
}

/// A member of a type, or an element.
pub(crate) struct Field {
    name: String,
    of: Of,
    nillable: bool,
    unbounded: bool,
}

enum Of {
    /// A type of XML Schema.
    BuiltIn(&'static str),
    /// A type of a namespace.
    Type(String, String),
    /// An element of a namespace.
    Reference(String),
}

impl Field {
    /// A text, which may be null.
    pub(crate) fn string(name: &str) -> Self {
        Self { nillable: true, ..Self::built_in(name, "string") }
    }

    /// A value that cannot be null.
    pub(crate) fn built_in(name: &str, of: &'static str) -> Self {
        Self { name: name.to_owned(), of: Of::BuiltIn(of), nillable: false, unbounded: false }
    }

    /// An object, which may be null.
    pub(crate) fn of_type(name: &str, namespace: &str, of: &str) -> Self {
        let of = Of::Type(namespace.to_owned(), of.to_owned());
        Self { name: name.to_owned(), of, nillable: true, unbounded: false }
    }

    /// The element of another namespace.
    pub(crate) fn reference(namespace: &str, name: &str) -> Self {
        Self { name: name.to_owned(), of: Of::Reference(namespace.to_owned()), nillable: false, unbounded: false }
    }

    /// One that cannot be null: a value of an enumeration.
    pub(crate) fn required(self) -> Self {
        Self { nillable: false, ..self }
    }

    /// Any number of them.
    pub(crate) fn unbounded(self) -> Self {
        Self { unbounded: true, ..self }
    }

    /// As a member, with `more` attributes, or as a global element without.
    fn write(&self, more: &str) -> String {
        let nillable = if self.nillable { r#" nillable="true""# } else { "" };
        let name = &self.name;
        match &self.of {
            Of::BuiltIn(of) => format!(r#"<xs:element{more} name="{name}"{nillable} type="xs:{of}"/>"#),
            Of::Type(namespace, of) => {
                format!(r#"<xs:element{more} name="{name}"{nillable} type="q:{of}" xmlns:q="{namespace}"/>"#)
            }
            Of::Reference(namespace) => format!(r#"<xs:element{more} ref="q:{name}" xmlns:q="{namespace}"/>"#),
        }
    }
}

impl Schema {
    /// A schema without types.
    pub(crate) fn new(namespace: &str, imports: &[&str]) -> Self {
        let imports = imports.iter().map(|import| (*import).to_owned()).collect();
        Self { namespace: namespace.to_owned(), imports, body: String::new() }
    }

    /// A global element.
    pub(crate) fn element(&mut self, name: &str, field: &Field) {
        debug_assert_eq!(name, field.name);
        self.body += &field.write("");
    }

    /// A global element of a type without name: what stands in a Body.
    pub(crate) fn wrapper(&mut self, name: &str, fields: &[Field]) {
        let sequence = sequence(fields);
        let _ = write!(self.body, r#"<xs:element name="{name}"><xs:complexType>{sequence}</xs:complexType></xs:element>"#);
    }

    /// A type of a data contract, and the element that WCF declares for each.
    pub(crate) fn data_contract(&mut self, name: &str, base: Option<&str>, fields: &[Field]) {
        let sequence = sequence(fields);
        let content = match base {
            None => sequence,
            Some(base) => {
                let extension = format!(r#"<xs:extension base="tns:{base}">{sequence}</xs:extension>"#);
                format!(r#"<xs:complexContent mixed="false">{extension}</xs:complexContent>"#)
            }
        };
        let _ = write!(
            self.body,
            r#"<xs:complexType name="{name}">{content}</xs:complexType><xs:element name="{name}" nillable="true" type="tns:{name}"/>"#
        );
    }

    /// An enumeration, and its element.
    pub(crate) fn enumeration(&mut self, name: &str, values: &[&str]) {
        let values: String = values.iter().map(|value| format!(r#"<xs:enumeration value="{value}"/>"#)).collect();
        let _ = write!(
            self.body,
            r#"<xs:simpleType name="{name}"><xs:restriction base="xs:string">{values}</xs:restriction></xs:simpleType><xs:element name="{name}" nillable="true" type="tns:{name}"/>"#
        );
    }

    /// The schema that each WCF host serves beside its own.
    pub(crate) fn serialization() -> Self {
        const SIMPLE: [&str; 18] = [
            "anyType",
            "anyURI",
            "base64Binary",
            "boolean",
            "byte",
            "dateTime",
            "decimal",
            "double",
            "float",
            "int",
            "long",
            "QName",
            "short",
            "string",
            "unsignedByte",
            "unsignedInt",
            "unsignedLong",
            "unsignedShort",
        ];
        let mut schema = Self::new(SERIALIZATION, &[]);
        for name in SIMPLE {
            schema.body += &Field { nillable: true, ..Field::built_in(name, name) }.write("");
        }
        let restricted = [
            ("char", "int", String::new()),
            (
                "duration",
                "duration",
                r#"<xs:pattern value="\-?P(\d*D)?(T(\d*H)?(\d*M)?(\d*(\.\d*)?S)?)?"/><xs:minInclusive value="-P10675199DT2H48M5.4775808S"/><xs:maxInclusive value="P10675199DT2H48M5.4775807S"/>"#.to_owned(),
            ),
            (
                "guid",
                "string",
                r#"<xs:pattern value="[\da-fA-F]{8}-[\da-fA-F]{4}-[\da-fA-F]{4}-[\da-fA-F]{4}-[\da-fA-F]{12}"/>"#.to_owned(),
            ),
        ];
        for (name, base, facets) in restricted {
            let _ = write!(
                schema.body,
                r#"<xs:element name="{name}" nillable="true" type="tns:{name}"/><xs:simpleType name="{name}"><xs:restriction base="xs:{base}">{facets}</xs:restriction></xs:simpleType>"#
            );
        }
        schema.body += r#"<xs:attribute name="FactoryType" type="xs:QName"/><xs:attribute name="Id" type="xs:ID"/><xs:attribute name="Ref" type="xs:IDREF"/>"#;
        schema
    }

    /// As a document or within one; `location` tells where the schema of an imported namespace is, unless it is beside this.
    pub(crate) fn document(&self, location: &dyn Fn(&str) -> Option<String>) -> String {
        let namespace = &self.namespace;
        let imports: String = self
            .imports
            .iter()
            .map(|import| {
                let location = location(import).map_or_else(String::new, |at| format!(r#" schemaLocation="{at}""#));
                format!(r#"<xs:import{location} namespace="{import}"/>"#)
            })
            .collect();
        format!(
            r#"<xs:schema elementFormDefault="qualified" targetNamespace="{namespace}" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:tns="{namespace}">{imports}{}</xs:schema>"#,
            self.body
        )
    }
}

fn sequence(fields: &[Field]) -> String {
    let fields: String = fields
        .iter()
        .map(|field| field.write(if field.unbounded { r#" minOccurs="0" maxOccurs="unbounded""# } else { r#" minOccurs="0""# }))
        .collect();
    format!("<xs:sequence>{fields}</xs:sequence>")
}
