//! The vendor's table: which check goes with which brands and which languages. Every text is spelled as on its page.

/// One check that can be ordered.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    pub name: &'static str,
    pub brands: Brands,
    pub languages: &'static [&'static str],
}

#[derive(Debug, Clone, Copy)]
pub enum Brands {
    /// These, and one of them has to be named.
    Of(&'static [&'static str]),
    /// Any, or none at all.
    Any,
}

/// The same address answers this too, but it is no report: it is `vagvin.balance`.
pub const GET_BALANCE: &str = "get_balance";

const RUSSIAN: &str = "Русский";
const ENGLISH: &str = "Английский";
const SIX: &[&str] = &[RUSSIAN, ENGLISH, "Польский", "Румынский", "Французский", "Немецкий"];
const RUSSIAN_ENGLISH: &[&str] = &[RUSSIAN, ENGLISH];
const ENGLISH_ONLY: &[&str] = &[ENGLISH];

const BMW: &[&str] = &["BMW", "Mini"];
const VAG: &[&str] = &["Audi", "SKODA", "SEAT", "Volkswagen"];
const MANY: &[&str] = &[
    "Alfa Romeo",
    "Renault",
    "Jeep",
    "Infiniti",
    "Land Rover",
    "Nissan",
    "Mazda",
    "hyundai",
    "Honda",
    "Peugeot",
    "Citroen",
    "Fiat",
    "Jaguar",
    "Lexus",
    "Opel",
    "Toyota",
    "KIA",
    "Ford",
    "Porsche",
    "Mercedes-Benz",
];
const ETKA: &[&str] = &["Audi", "SKODA", "SEAT", "Volkswagen", "MAN", "Porsche", "Bentley"];
const ENGINE_NUMBER: &[&str] = &[
    "Audi",
    "SKODA",
    "SEAT",
    "Volkswagen",
    "Volvo",
    "Peugeot",
    "Nissan",
    "Jeep",
    "KIA",
    // Without "-Benz" in this one list.
    "Mercedes",
    "Opel",
    "Citroen",
    "Dodge",
    "Fiat",
    "hyundai",
];

pub const CHECKS: &[Check] = &[
    Check { name: "check_data_bmw_full", brands: Brands::Of(BMW), languages: SIX },
    Check { name: "check_data_multibr_zapros", brands: Brands::Of(MANY), languages: RUSSIAN_ENGLISH },
    Check { name: "check_elsa_pro_full", brands: Brands::Of(VAG), languages: SIX },
    Check { name: "check_CarVertical", brands: Brands::Any, languages: SIX },
    Check { name: "check_data_mercedes_eva", brands: Brands::Of(&["Mercedes-Benz"]), languages: ENGLISH_ONLY },
    Check { name: "check_erwin_full", brands: Brands::Of(VAG), languages: ENGLISH_ONLY },
    Check { name: "check_etka_full", brands: Brands::Of(ETKA), languages: RUSSIAN_ENGLISH },
    Check { name: "check_nomer_dws", brands: Brands::Of(ENGINE_NUMBER), languages: ENGLISH_ONLY },
];

/// What people write for a brand, folded, and what the vendor's spelling folds to.
const BRAND_ALIASES: &[(&str, &str)] = &[
    ("vw", "volkswagen"),
    ("mercedes", "mercedesbenz"),
    ("alfa", "alfaromeo"),
    ("infinity", "infiniti"),
    ("minicooper", "mini"),
];

/// Every language by the vendor's name, with what programs and people write for it.
const LANGUAGES: &[(&str, &[&str])] = &[
    (RUSSIAN, &["ru", "rus", "russian"]),
    (ENGLISH, &["en", "eng", "english"]),
    ("Польский", &["pl", "pol", "polish"]),
    ("Румынский", &["ro", "ron", "romanian"]),
    ("Французский", &["fr", "fra", "french"]),
    ("Немецкий", &["de", "deu", "german"]),
];

/// The check of that name, whatever its case.
pub fn check(name: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.name.eq_ignore_ascii_case(name.trim()))
}

impl Check {
    /// The vendor's spelling of a brand, if this check takes it.
    pub fn brand(&self, typed: &str) -> Option<&'static str> {
        match self.brands {
            Brands::Of(brands) => brands.iter().copied().find(|brand| same_brand(brand, typed)),
            Brands::Any => None,
        }
    }

    /// The vendor's spelling of a language, if this check has it.
    pub fn language(&self, typed: &str) -> Option<&'static str> {
        language(typed).filter(|language| self.languages.contains(language))
    }
}

/// The vendor's word for a language.
pub fn language(typed: &str) -> Option<&'static str> {
    let typed = typed.trim().to_lowercase();
    LANGUAGES
        .iter()
        .find(|(name, aliases)| name.to_lowercase() == typed || aliases.contains(&typed.as_str()))
        .map(|(name, _)| *name)
}

fn same_brand(ours: &str, typed: &str) -> bool {
    let key = |brand: &str| {
        let folded = fold(brand);
        BRAND_ALIASES.iter().find(|(alias, _)| *alias == folded).map_or(folded, |(_, brand)| (*brand).to_owned())
    };
    key(ours) == key(typed)
}

/// Letters and digits only, lower case, without the accents that brands wear.
fn fold(brand: &str) -> String {
    crate::vendors::lenient::latin_lookalikes(brand)
        .to_lowercase()
        .chars()
        .map(|c| match c {
            'š' => 's',
            'ë' | 'é' => 'e',
            other => other,
        })
        .filter(|c| c.is_alphanumeric())
        .collect()
}
