//! Reading configuration: an error names the field and what it accepts, whatever the format.

/// Makes one `deserialize_with` function per field. The cause comes last: formats add or read the position there.
macro_rules! named_fields {
    ($($field:ident: $type:ty, $accepts:literal;)*) => {$(
        pub(super) fn $field<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
            <$type as serde::Deserialize>::deserialize(deserializer).map_err(|error| {
                serde::de::Error::custom(format_args!(
                    "field `{}` takes {}: {error}", stringify!($field), $accepts
                ))
            })
        }
    )*};
}

pub(crate) use named_fields;
