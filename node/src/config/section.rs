//! The sections of the file, one small struct each, and the form in which they are declared.

pub mod admin;
pub mod cache;
pub mod cluster;
pub mod gc;
pub mod http;
pub mod log;
pub mod metadata;
pub mod node;
pub mod registry;
pub mod repair;
pub mod storage;

use super::reader::Reader;

/// A group of keys.
pub trait Section: Sized {
    /// Its name in the file.
    const NAME: &'static str;

    /// Reads every key of it, in the order of the declaration.
    fn declare(reader: &mut Reader<'_>) -> Self;
}

/// Declares a section: a struct whose fields are keys. For each key: its documentation, its type,
/// its default and, after `in`, its range; default and range are written as in a variable.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident = $section:literal;
        $(
            $(#[doc = $doc:literal])+
            $key:ident: $type:ty = $default:literal $(in $min:literal ..= $max:literal)?;
        )+
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $key: $type, )+
        }

        impl $crate::config::section::Section for $name {
            const NAME: &'static str = $section;

            fn declare(reader: &mut $crate::config::reader::Reader<'_>) -> Self {
                reader.enter(Self::NAME);
                Self {
                    $( $key: reader.key($crate::config::reader::Key {
                        name: stringify!($key),
                        doc: concat!($($doc, "\n"),+),
                        default: $default,
                        range: None $(.or(Some(($min, $max))))?,
                    }), )+
                }
            }
        }
    };
}
use section;
