//! XML Schema as WCF writes it for the types of a data contract.

use std::fmt::Write as _;

/// Namespace in which WCF declares elements of the simple types.
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
    /// A built-in type of XML Schema.
    BuiltIn(&'static str),
    /// A type: namespace and name.
    Type(String, String),
    /// An element of this namespace.
    Reference(String),
}

impl Field {
    /// Creates a nullable text.
    pub(crate) fn string(name: &str) -> Self {
        Self { nillable: true, ..Self::built_in(name, "string") }
    }

    /// Creates a value that cannot be null.
    pub(crate) fn built_in(name: &str, of: &'static str) -> Self {
        Self { name: name.to_owned(), of: Of::BuiltIn(of), nillable: false, unbounded: false }
    }

    /// Creates a nullable object.
    pub(crate) fn of_type(name: &str, namespace: &str, of: &str) -> Self {
        let of = Of::Type(namespace.to_owned(), of.to_owned());
        Self { name: name.to_owned(), of, nillable: true, unbounded: false }
    }

    /// Creates a reference to an element of another namespace.
    pub(crate) fn reference(namespace: &str, name: &str) -> Self {
        Self { name: name.to_owned(), of: Of::Reference(namespace.to_owned()), nillable: false, unbounded: false }
    }

    /// Makes the field non-nullable, as a value of an enumeration is.
    pub(crate) fn required(self) -> Self {
        Self { nillable: false, ..self }
    }

    /// Allows any number of occurrences.
    pub(crate) fn unbounded(self) -> Self {
        Self { unbounded: true, ..self }
    }

    /// Writes a member, with `more` as its attributes, or a global element if `more` is empty.
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
    /// Creates a schema without types.
    pub(crate) fn new(namespace: &str, imports: &[&str]) -> Self {
        let imports = imports.iter().map(|import| (*import).to_owned()).collect();
        Self { namespace: namespace.to_owned(), imports, body: String::new() }
    }

    /// Adds a global element.
    pub(crate) fn element(&mut self, name: &str, field: &Field) {
        debug_assert_eq!(name, field.name);
        self.body += &field.write("");
    }

    /// Adds a global element of an anonymous type, as used in a Body.
    pub(crate) fn wrapper(&mut self, name: &str, fields: &[Field]) {
        let sequence = sequence(fields);
        let _ = write!(self.body, r#"<xs:element name="{name}"><xs:complexType>{sequence}</xs:complexType></xs:element>"#);
    }

    /// Adds a type of a data contract, and the element that WCF declares for it.
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

    /// Adds an enumeration, and its element.
    pub(crate) fn enumeration(&mut self, name: &str, values: &[&str]) {
        let values: String = values.iter().map(|value| format!(r#"<xs:enumeration value="{value}"/>"#)).collect();
        let _ = write!(
            self.body,
            r#"<xs:simpleType name="{name}"><xs:restriction base="xs:string">{values}</xs:restriction></xs:simpleType><xs:element name="{name}" nillable="true" type="tns:{name}"/>"#
        );
    }

    /// Returns the schema that every WCF host serves beside its own.
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

    /// Writes the schema. `location` returns the URL of an imported namespace's schema, or `None` if it is in the same document.
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
