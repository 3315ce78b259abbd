"""English."""

from __future__ import annotations

from typing import Final

WORDS: Final = {
    "IGNORE": """ignore ignores ignored ignoring disregard disregards disregarding disregarded forget forgets
        forgetting override overrides overriding overrule bypass bypasses bypassing skip neglect discard
        discarding dismiss abandon supersede supersedes cancel nullify erase unlearn drop overlook disobey
        unheed""",
    "PREVIOUS": """previous previously prior above preceding earlier before foregoing past former beforehand
        hitherto""",
    "INSTRUCTION": """instruction instructions rule rules guideline guidelines directive directives order orders
        command commands constraint constraints policy policies programming training safeguard safeguards
        guardrail guardrails direction directions task tasks assignment assignments""",
    "ALL": "all every everything any anything entire whole full complete completely",
    "EVERYTHING": "everything anything",
    "YOU": "you u ya",
    "YOUR": "your",
    "ARE": "are re become becoming be",
    "SYSTEM": """system developer initial initialization hidden secret internal original underlying base startup
        starting setup boot""",
    "PROMPT": """prompt prompts preamble configuration config instruction instructions message directives setup
        directions guidelines rules""",
    "REVEAL": """reveal reveals revealing show showing print output display repeat tell leak expose dump
        disclose recite quote echo share paste return provide give state spell summarize summarise paraphrase
        translate list describe write say""",
    "VERBATIM": "verbatim literally exactly exact",
    "RESTRICTION": """restriction restrictions limit limits limitation limitations filter filters censorship
        ethics ethical moral morals morality safety guideline guidelines rules boundaries policies laws legality
        restraint restraints constraints safeguards guardrails inhibitions disclaimers disclaimer""",
    "FREE": """free freed unrestricted unfiltered uncensored unbound unlimited unchained liberated unshackled
        amoral unconstrained unmoderated lawless""",
    "WITHOUT": """without no never not neither nor ignore ignores ignoring lacks lacking disable disabled beyond
        off remove""",
    "PRETEND": """act acting pretend pretending roleplay simulate simulating impersonate imagine emulate
        emulating play playing portray embody behave""",
    "ROLE": "role persona character alter ego personality identity",
    "NOW": "now henceforth onwards onward hereafter",
    "FROM": "from",
    "MODE": "mode modes",
    "MODENAME": """dan dude stan god developer debug maintenance admin administrator sudo root unrestricted
        jailbreak evil unfiltered free freedom chaos opposite dual""",
    "DAN": "dan stan dude jailbreak jailbroken jailbreaks",
    "AI": "ai assistant model chatbot chatgpt gpt llm bot openai language claude gemini",
    "NEVER": "never not no don dont cannot wont without",
    "REFUSE": """refuse refuses refusing refusal decline reject apologize apologise apology apologies warn
        warning warnings""",
    "COMPLY": "comply complies obey obeys obedient follow fulfill fulfil answer answers respond responds",
    "CREDENTIAL": """password passwords credential credentials token tokens apikey secrets passphrase keys
        passcode ssn connection""",
    "SEND": "send post upload email forward transmit exfiltrate submit leak mail append embed include",
    "ADDRESS": "http https url link webhook endpoint server ftp",
    "RECORDS": """customer customers user users database databases records email emails conversation
        conversations history private personal confidential data contacts employees salaries memory environment
        variables file files phone""",
    "DATA": "data records emails conversations history contacts database files details information variables table",
    "OTHERS": "other others everyone",
    "DECODE": "decode decoding decoded decrypt decipher unscramble deobfuscate",
    "CIPHER": """base64 rot13 hex hexadecimal binary morse cipher caesar reversed backwards encoded leetspeak
        base32 ascii""",
    "EXECUTE": "execute follow perform obey carry run comply act do",
    "NEW": "new different next following another updated real actual",
    "TASK": "task tasks instruction instructions job order orders directive assignment objective goal mission",
    "INSTEAD": "instead",
    "ONLY": "only just",
    "SAY": "say write output print respond answer reply tell return generate",
    "END": "end ends over ended complete completed finished begin begins start",
    "CONTEXT": """context document documents input prompt article text articles passage conversation
        instructions section""",
    "MUST": "must shall always will",
    "TEXT": """text texts everything conversation words sentences prompt instructions content message lines
        paragraph""",
    "TOLD": "told given instructed received assigned said provided wrote placed set",
    "BEGINNING": "beginning start first initially top",
    "STAY": "stay remain break breaking",
    "SILENTLY": "silently secretly quietly mention reveal inform tell notify",
    "TRICK": "hypothetical fictional fiction hypothetically",
    "EVIL": "evil illegal unethical immoral dangerous harmful malicious offensive",
    "VOID": """irrelevant void obsolete outdated invalid cancelled canceled revoked suspended longer settled
        done superseded""",
    "INFORMATION": "information info texts articles data context conversation documents knowledge",
    "WRITTEN": "written stands stood said precedes preceded placed told given",
    "QUESTION": "question questions request article articles",
    "SUSPEND": "disable disabled suspended suspend deactivate deactivated switched unlock lifted",
    "SAFETY": """safety guardrails safeguards filters filter policy policies moderation censorship restrictions
        guidelines protections layers""",
    "OPERATOR": "operator developer developers administrator admin creators makers company openai anthropic",
    "MARKED": "credit card cards bank account accounts address addresses",
}
