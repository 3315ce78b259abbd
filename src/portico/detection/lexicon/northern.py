"""Dutch, Polish, Turkish, and what is spoken between Ljubljana and Skopje, in Latin letters."""

from __future__ import annotations

from typing import Final

WORDS: Final = {
    "IGNORE": """negeer vergeet zignoruj ignoruj zapomnij pomiń unut yoksay görmezden zaboravi zanemari
        ignoriraj pozabi""",
    "PREVIOUS": """vorige voorgaande eerdere bovenstaande poprzednie poprzednich wcześniejsze powyższe önceki
        yukarıdaki prethodne prethodna ranije""",
    "INSTRUCTION": """instructies opdrachten regels richtlijnen instrukcje instrukcji polecenia zasady reguły
        talimatları talimatlar kuralları kurallar instrukcije upute pravila naredbe""",
    "ALL": "alle alles wszystkie wszystkich wszystko tüm bütün sve svih svi",
    "YOU": "jij je jullie ty sen ti",
    "YOUR": "jouw twoje twój twoich senin svoje tvoje",
    "SYSTEM": "systeem systeemprompt systemowy systemowe początkowe sistem gizli sustava",
    "PROMPT": "systeemprompt instructies prompt instrukcje istemi istemini instrukcije",
    "REVEAL": """toon laat geef herhaal zeg pokaż ujawnij powtórz wypisz göster açıkla tekrarla yaz pokaži
        otkrij ponovi""",
    "NOW": "nu vanaf teraz odtąd şimdi artık sada",
    "PRETEND": "doe speel gedraag udawaj zachowuj davran rol glumi ponašaj",
    "RESTRICTION": "beperkingen beperking filters ograniczeń ograniczenia kısıtlama kısıtlamalar ograničenja",
    "WITHOUT": "zonder geen bez żadnych olmadan hiçbir",
    "NEW": "nieuwe nowe nowa yeni nova nove",
    "TASK": "taak opdracht zadanie görev zadatak",
    "ONLY": "alleen slechts tylko sadece samo",
    "SAY": "zeg schrijf antwoord napisz powiedz odpowiedz söyle yaz reci napiši",
    "CREDENTIAL": "wachtwoord wachtwoorden hasło hasła şifre şifreleri lozinka lozinke",
}
