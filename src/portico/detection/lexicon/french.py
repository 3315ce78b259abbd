"""French."""

from __future__ import annotations

from typing import Final

WORDS: Final = {
    "IGNORE": """ignore ignorez ignorer oublie oubliez oublier néglige négligez contourne contournez outrepasse
        annule annulez compte""",
    "PREVIOUS": """précédent précédente précédents précédentes antérieur antérieures antérieurs avant dessus
        préalables ci""",
    "INSTRUCTION": """instruction instructions consigne consignes règle règles ordre ordres directive directives
        tâche tâches limites""",
    "ALL": "tout toute toutes tous intégralité intégral complet",
    "EVERYTHING": "tout",
    "YOU": "tu vous te toi",
    "YOUR": "ton ta tes votre vos",
    "ARE": "es êtes sois soyez deviens devenez",
    "SYSTEM": "système initial initiale initiales initiaux caché cachées secrètes origine",
    "PROMPT": "prompt invite message instructions consignes",
    "REVEAL": """révèle révélez montre montrez affiche affichez répète répétez donne donnez dis dites écris
        écrivez recopie recopiez""",
    "VERBATIM": "mot textuellement exactement littéralement",
    "RESTRICTION": "restriction restrictions limite limites filtre filtres censure éthique morale",
    "FREE": "libre illimité",
    "WITHOUT": "sans aucune aucun jamais",
    "PRETEND": "agis agissez prétends joue jouez simule simulez imagine incarne comporte",
    "ROLE": "rôle personnage",
    "NOW": "maintenant désormais dorénavant",
    "MODE": "mode",
    "MODENAME": "développeur administrateur",
    "AI": "ia assistant modèle",
    "NEVER": "jamais pas",
    "REFUSE": "refuse refuser refusez excuse excuses avertissement",
    "COMPLY": "obéis obéir obéissez réponds répondre répondez",
    "CREDENTIAL": "passe identifiants jeton clé clés",
    "SEND": "envoie envoyez envoyer transmets transmettez transfère",
    "RECORDS": "clients client utilisateurs utilisateur historique privées confidentielles",
    "DATA": "données historique conversations dossiers courriels",
    "OTHERS": "autres",
    "DECODE": "décode décodez déchiffre déchiffrez",
    "EXECUTE": "exécute exécutez suis suivez applique",
    "NEW": "nouvelle nouvelles nouveau nouveaux suivante suivantes suivant",
    "TASK": "tâche tâches mission instructions consignes",
    "ONLY": "seulement uniquement",
    "SAY": "dis dites réponds répondez écris écrivez",
    "CONTEXT": "contexte document texte précède",
    "TEXT": "texte conversation",
    "EVIL": "maléfique illégal dangereux",
    "TOLD": "reçues reçu reçus donné données dit",
    "VOID": "annulées valables",
}
