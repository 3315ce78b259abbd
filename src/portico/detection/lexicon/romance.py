"""Italian and Portuguese."""

from __future__ import annotations

from typing import Final

WORDS: Final = {
    "IGNORE": """ignora ignorate ignorare dimentica dimenticate dimenticare trascura scavalca ignorem esqueça
        esqueca esquece esquecer desconsidere desconsidera descarte""",
    "PREVIOUS": "precedente precedenti prima sopra anteriores anterior prévias prévia antes acima",
    "INSTRUCTION": """istruzione istruzioni regola regole ordine ordini direttiva direttive compiti instrução
        instruções regra regras ordem ordens diretriz diretrizes tarefas""",
    "ALL": "tutto tutte tutti qualsiasi completo tudo todas todos inteiro",
    "EVERYTHING": "tutto tudo",
    "YOU": "tu você voce sei",
    "YOUR": "tuo tua tue tuoi seu sua seus suas teu",
    "SYSTEM": "sistema iniziale iniziali nascoste segrete inicial iniciais ocultas secretas",
    "PROMPT": "prompt messaggio istruzioni mensagem instruções",
    "REVEAL": """rivela mostra mostrami stampa ripeti dimmi scrivi revele revela mostre imprima repita diga
        escreva rivelami""",
    "VERBATIM": "letteralmente parola testualmente literalmente",
    "RESTRICTION": "restrizioni restrizione limiti filtri censura etica restrições restrição limites filtros ética",
    "FREE": "libero illimitato livre",
    "WITHOUT": "senza nessuna nessun mai sem nenhuma nenhum nunca",
    "PRETEND": "fingi agisci comportati simula interpreta finja aja atue simule",
    "ROLE": "ruolo personaggio papel personagem",
    "NOW": "adesso ora agora",
    "MODE": "modalità modo",
    "MODENAME": "sviluppatore amministratore desenvolvedor administrador",
    "AI": "ia assistente modello modelo",
    "NEVER": "mai nunca jamais",
    "REFUSE": "rifiutare rifiutarti recuse recusar",
    "COMPLY": "obbedisci rispondi obedeça responda",
    "CREDENTIAL": "credenziali senha senhas credenciais chiavi",
    "SEND": "invia inviare manda envie enviar encaminhe",
    "RECORDS": "clienti utenti cronologia clientes usuários histórico",
    "DATA": "dati cronologia dados histórico conversas",
    "DECODE": "decodifica decodifique decifra",
    "EXECUTE": "esegui segui execute siga obbedisci obedeça",
    "NEW": "nuova nuove nuovo seguente seguenti nova novas seguinte",
    "TASK": "compito istruzioni tarefa instruções",
    "ONLY": "solo soltanto somente apenas",
    "SAY": "rispondi scrivi responda escreva diga",
    "CONTEXT": "contesto documento testo contexto texto",
    "TOLD": "ricevute ricevuto dato recebidas recebeu deram",
}
