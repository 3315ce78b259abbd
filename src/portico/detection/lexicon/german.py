"""German."""

from __future__ import annotations

from typing import Final

WORDS: Final = {
    "IGNORE": """ignoriere ignorieren ignorier ignoriert vergiss vergesse vergessen vergesst missachte
        missachten verwirf verwerfen überschreibe überschreiben umgehe umgehen streiche streichen überspringe""",
    "PREVIOUS": """vorherige vorherigen vorheriger vorhergehende vorhergehenden bisherige bisherigen obige
        obigen oben vorangegangene vorangegangenen frühere früheren davor zuvor vorher bisher""",
    "INSTRUCTION": """anweisung anweisungen anweisungsliste instruktion instruktionen regel regeln richtlinie
        richtlinien vorgabe vorgaben befehl befehle befehlen auftrag aufträge aufgabe aufgaben ausführungen
        anleitung beschränkungen""",
    "ALL": """alle alles allen aller sämtliche sämtlichen ganze ganzen gesamte gesamten gesamter vollständig
        vollständigen""",
    "EVERYTHING": "alles",
    "YOU": "du sie dich dir ihnen ihr",
    "YOUR": "dein deine deinen deiner deinem ihre ihren ihrer",
    "ARE": "bist sind wärst wirst",
    "SYSTEM": """systemprompt systemprompts systemanweisung systemanweisungen systemnachricht ursprüngliche
        ursprünglichen versteckte versteckten geheime geheimen interne internen anfängliche anfänglichen""",
    "PROMPT": """systemprompt systemanweisung systemanweisungen systemnachricht prompttext prompttexte
        eingabeaufforderung anweisung anweisungen instruktionen vorgaben konfiguration""",
    "REVEAL": """zeige zeig zeigen verrate verraten nenne nennen wiederhole wiederholen gib ausgeben sage sagen
        drucke offenbare schreibe schreib anzeigen teile""",
    "VERBATIM": "wörtlich wortwörtlich wort exakt",
    "RESTRICTION": """einschränkung einschränkungen beschränkung beschränkungen filter zensur regeln richtlinien
        grenzen moral ethik ethische moralische""",
    "FREE": "unzensiert ungefiltert uneingeschränkt unbeschränkt befreit",
    "WITHOUT": "ohne keine keinen keinerlei nie niemals",
    "PRETEND": "spiele spiel simuliere simulier fungieren fungiere verhalte verhalten verkörpere tu stell",
    "ROLE": "rolle figur charakter persona",
    "NOW": "jetzt nun fortan",
    "FROM": "ab von",
    "MODE": "modus",
    "MODENAME": "entwicklermodus wartungsmodus administrator",
    "AI": "ki sprachmodell assistent chatbot",
    "NEVER": "nie niemals nicht kein keine",
    "REFUSE": "verweigere verweigern ablehnen weigern entschuldigen warnung",
    "COMPLY": "gehorche gehorchen befolge befolgen antworte antworten beantworte",
    "CREDENTIAL": "passwort passwörter zugangsdaten kennwort kennwörter schlüssel anmeldedaten",
    "SEND": "sende senden schicke schicken übermittle hochladen leite",
    "ADDRESS": "adresse url server link",
    "RECORDS": "kundendaten kunden benutzer nutzer datenbank verlauf nutzerdaten personenbezogene vertrauliche",
    "DATA": "daten kundendaten nutzerdaten datensätze datenbank verlauf gespräche",
    "OTHERS": "anderer anderen andere",
    "DECODE": "dekodiere entschlüssle entschlüssele decodiere entziffere",
    "EXECUTE": "befolge befolgen ausführen führe handle",
    "NEW": "neue neuen neuer neues andere folgende folgenden",
    "TASK": "aufgabe aufgaben anweisung anweisungen auftrag",
    "INSTEAD": "stattdessen",
    "ONLY": "nur ausschließlich",
    "SAY": "sage sag schreibe schreib antworte gib",
    "CONTEXT": "kontext dokument dokumente eingabe artikel text",
    "TOLD": "bekommen erhalten gesagt gegeben aufgetragen wurde",
    "BEGINNING": "anfang beginn zuerst",
    "TEXT": "text texte prompttext prompttexte gespräch",
    "EVIL": "böse böser illegal gefährlich unmoralisch",
    "VOID": "irrelevant hinfällig ungültig erledigt aufgehoben mehr länger",
    "INFORMATION": "informationen texte artikel daten kontext",
    "SUSPEND": "deaktiviere deaktiviert abgeschaltet ausgeschaltet schalte hebe aufgehoben",
    "SAFETY": "sicherheitsregeln schutzmaßnahmen filter richtlinien zensur",
    "WRITTEN": "steht stand geschrieben",
    "OPERATOR": "betreiber entwickler administrator",
}
