//! Enums whose variants have names, each in one table.

/// Declares an enum with the name of each variant, and makes of it `ALL`, `name` and `Display`.
macro_rules! named {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $enum:ident: $of_all:vis ALL {
            $($(#[$doc:meta])* $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visibility enum $enum {
            $($(#[$doc])* $variant,)+
        }

        impl $enum {
            /// All of them.
            #[allow(dead_code, reason = "some are only named")]
            $of_all const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Its name, for people and for programs: it stays the same.
            #[must_use]
            $visibility const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use named;
