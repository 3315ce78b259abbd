"""A chat endpoint that asks Portico before it asks the model."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request
from portico_client import AsyncPortico, Invalid, PorticoError
from pydantic import BaseModel


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # One client for the whole program: it keeps its connections.
    async with AsyncPortico() as portico, httpx.AsyncClient() as model:
        app.state.portico, app.state.model = portico, model
        yield


app = FastAPI(lifespan=lifespan)


class Chat(BaseModel):
    message: str


async def checked(chat: Chat, request: Request) -> str:
    """The message, when Portico has nothing against it."""
    try:
        verdict = await request.app.state.portico.detect(chat.message)
    except Invalid as error:  # no text, or longer than 10,000 characters
        raise HTTPException(422, {"code": error.code}) from None
    except PorticoError:
        # Closed: what nobody has checked does not reach the model. `return chat.message` would leave it open.
        raise HTTPException(503, {"code": "guard_unavailable"}) from None
    if verdict.is_malicious:
        raise HTTPException(422, {"code": "prompt_injection", "threat_types": verdict.threat_types})
    return chat.message


@app.post("/chat")
async def chat(message: Annotated[str, Depends(checked)], request: Request) -> dict[str, str]:
    answer = await request.app.state.model.post(os.environ["MODEL_URL"], json={"message": message})
    return {"answer": answer.json()["answer"]}
