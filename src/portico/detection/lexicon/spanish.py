"""Spanish."""

from __future__ import annotations

from typing import Final

WORDS: Final = {
    "IGNORE": """ignora ignore ignorar ignorad olvida olvide olvidar olvídate descarta descartar omite omitir
        desobedece anula anular caso""",
    "PREVIOUS": "anterior anteriores previa previas previo previos antes arriba",
    "INSTRUCTION": """instrucción instrucciones regla reglas orden órdenes norma normas directriz directrices
        restricciones indicaciones tarea tareas""",
    "ALL": "todo todos todas toda cualquier completo completa",
    "YOU": "tú usted te eres",
    "YOUR": "tu tus su sus",
    "ARE": "eres serás",
    "SYSTEM": "sistema inicial iniciales ocultas oculto secretas secreto originales",
    "PROMPT": "prompt mensaje instrucciones instrucción indicaciones configuración",
    "REVEAL": "revela revelar muestra muestrame mostrar dime repite repetir imprime imprimir escribe dame enseña",
    "VERBATIM": "textualmente literalmente literal palabra",
    "RESTRICTION": "restricción restricciones límite límites filtro filtros censura ética moral",
    "FREE": "libre ilimitado",
    "WITHOUT": "ningún ninguna nunca jamás",
    "PRETEND": "actúa actua finge finja simula interpreta imagina compórtate",
    "ROLE": "papel rol personaje",
    "NOW": "ahora adelante",
    "MODE": "modo",
    "MODENAME": "desarrollador administrador",
    "AI": "ia asistente modelo",
    "NEVER": "nunca jamás",
    "REFUSE": "negarte rechaces rechazar disculpes advertencias",
    "COMPLY": "obedece obedecer cumple responde responder",
    "CREDENTIAL": "contraseña contraseñas credenciales clave claves",
    "SEND": "envía enviar envia manda mandar sube reenvía",
    "RECORDS": "clientes cliente usuarios usuario historial privados confidenciales",
    "DATA": "datos historial registros correos conversaciones",
    "OTHERS": "otros otras",
    "DECODE": "decodifica descifra",
    "EXECUTE": "ejecuta ejecútalo sigue síguelas obedece",
    "NEW": "nueva nuevas nuevo nuevos siguiente siguientes",
    "TASK": "tarea tareas instrucciones órdenes misión",
    "ONLY": "solo sólo solamente únicamente",
    "SAY": "di responde escribe contesta",
    "CONTEXT": "contexto documento texto",
    "TEXT": "texto conversación",
    "EVIL": "malvado ilegal peligroso",
    "TOLD": "dieron dado recibido recibidas recibiste dijeron",
    "VOID": "inválidas anuladas válidas",
}
